// Hive Gateway (`gateway.config.mjs`) that enforces what Palisade has granted by itself, and asks nobody:
//
//   client -> Palisade (`POST /oauth2/token`) for a token whose `scope` is what the policies permit of what the client's token holds
//   client -> Hive Gateway -> subgraphs, with that token
//
//   ISSUER=https://auth.example.com AUDIENCE=https://api.example.com/graphql hive-gateway supergraph supergraph.graphql -c gateway.config.mjs
//
// In Palisade: `sts`, with this AUDIENCE under `audiences`, and under its `scopes` every scope that `@requiresScopes` of the supergraph
// names. What it cannot do is what a scope cannot say: arguments, tags and introspection are open to everybody with a token, and what
// `@policy` stands on is closed to everybody. And of the three directives it judges those of a field and of the type that the field is
// on: what stands on a scalar or an enum holds for nobody, and of a field that is asked of an interface only what the interface says.
// Put them on the fields that return such a value, and on the interface.
//
// What must stay as it is:
//   audience, issuer          of this API and of Palisade: a token of the client's own issuer, which nobody has narrowed, is refused
//   algorithms                what Palisade signs with, and no other
//   bearer                    a token that is bound to a key (`cnf`) is refused: nothing here asks for the proof
//   protect-granular          judges the three directives; an operation is refused whole
//   websockets and multipart  off, as is what nobody needs

import { createRemoteJwksSigningKeyProvider } from '@graphql-hive/gateway';

const issuer = process.env.ISSUER;
const audience = process.env.AUDIENCE;
const keys = process.env.JWKS ?? `${issuer}/.well-known/jwks.json`;
// Without them a JWT library checks neither.
if (!issuer || !audience) throw new Error('ISSUER and AUDIENCE are not set');

// RFC 7800: whoever has copied such a token cannot use it without the key, wherever that is looked at.
function bearer(claims) {
  if (claims?.cnf !== undefined) throw new Error('the token is bound to a key, and no proof is looked at here');
  return claims;
}

export const gatewayConfig = {
  jwt: {
    signingKeyProviders: [createRemoteJwksSigningKeyProvider({ jwksUri: keys })],
    tokenVerification: { issuer, audience, algorithms: ['ES256'] },
    reject: { missingToken: true, invalidToken: true },
  },
  genericAuth: {
    mode: 'protect-granular',
    resolveUserFn: ({ jwt }) => bearer(jwt?.payload),
    rejectUnauthenticated: true,
  },
  disableWebsockets: true,
  multipart: false,
  batching: false,
  graphiql: false,
  landingPage: false,
};

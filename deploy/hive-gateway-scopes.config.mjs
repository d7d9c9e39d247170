// Hive Gateway (`gateway.config.mjs`) that enforces what Palisade has granted by itself, and asks nobody:
//
//   client -> Palisade (`POST /oauth2/token`) for a token whose `scope` is what the policies permit of what the client's token holds
//   client -> Hive Gateway -> subgraphs, with that token
//
//   ISSUER=https://auth.example.com AUDIENCE=https://api.example.com/graphql hive-gateway supergraph supergraph.graphql -c gateway.config.mjs
//
// In Palisade: `sts`, with this AUDIENCE under `audiences`, and under its `scopes` every scope that `@requiresScopes` of the supergraph
// names. Any router with `@requiresScopes` and a JWT check does the same. What it cannot do is what a scope cannot say: arguments,
// tags and introspection are open to everybody with a token, and what `@policy` stands on is closed to everybody.
//
// What must stay as it is:
//   audience, issuer          of this API and of Palisade: a token of the client's own issuer, which nobody has narrowed, is refused
//   algorithms                what Palisade signs with, and no other
//   protect-granular          judges the three directives; an operation is refused whole
//   websockets and multipart  off, as is what nobody needs

import { createRemoteJwksSigningKeyProvider } from '@graphql-hive/gateway';

const issuer = process.env.ISSUER;
const audience = process.env.AUDIENCE;
const keys = process.env.JWKS ?? `${issuer}/.well-known/jwks.json`;
// Without them a JWT library checks neither.
if (!issuer || !audience) throw new Error('ISSUER and AUDIENCE are not set');

export const gatewayConfig = {
  jwt: {
    signingKeyProviders: [createRemoteJwksSigningKeyProvider({ jwksUri: keys })],
    tokenVerification: { issuer, audience, algorithms: ['ES256'] },
    reject: { missingToken: true, invalidToken: true },
  },
  genericAuth: {
    mode: 'protect-granular',
    resolveUserFn: ({ jwt }) => jwt?.payload,
    rejectUnauthenticated: true,
  },
  disableWebsockets: true,
  multipart: false,
  batching: false,
  graphiql: false,
  landingPage: false,
};

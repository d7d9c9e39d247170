// Verifies an access token as a resource server that has nothing of ours would: the issuer's metadata (RFC 8414), its key
// set, and `jose` for signature, `typ`, issuer, audience and times. Prints the claims as JSON.
//
//   node --input-type=module -e "$(cat verify.mjs)" ISSUER AUDIENCE < TOKEN

import { readFileSync } from 'node:fs';

import { createRemoteJWKSet, jwtVerify } from 'jose';

const [issuer, audience] = process.argv.slice(-2);
const metadata = await (await fetch(`${issuer}/.well-known/oauth-authorization-server`)).json();
if (metadata.issuer !== issuer) throw new Error(`the metadata is of ${metadata.issuer}`);
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri));
const { payload } = await jwtVerify(readFileSync(0, 'utf8').trim(), keys, {
  issuer,
  audience,
  typ: 'at+jwt',
  algorithms: ['ES256'],
  requiredClaims: ['sub', 'client_id', 'iat', 'exp', 'jti'],
});
console.log(JSON.stringify(payload));

// A real OpenID provider on loopback for the tests: `oidc-provider` with the settings that a
// resource server meets in the field. It issues JWT access tokens (RFC 9068) by two standard
// grants and by nothing else:
//
//   client_credentials            client `agent`, secret `agent-secret`
//   authorization_code with PKCE  public client `app`; the login page is answered by itself for
//                                 the user named in `login_hint`, since no person sits here
//                                 or for a client that has registered itself (RFC 7591), where
//                                 the setting `registration` lets it
//   token exchange (RFC 8693)     client `gateway`, secret `gateway-secret`: a token of this provider
//                                 for one of the audiences in `exchange.audiences`, with the client as actor
//
// Which claims a user's or client's tokens carry, which scopes a resource (RFC 8707) knows, the
// algorithm and the lifetime are settings: settings.json, then --settings FILE over it, then
// POST /test/settings at any time. Everything under /test/ is for the tests' hands only:
//
//   POST /test/settings   members given replace the ones in force; `exchange.lax` holds claims that an exchange puts
//                         in place of those that were asked for, `exchange.delay_ms` keeps it waiting, and
//                         `exchange.answer` {status, headers, body} is what the token endpoint answers instead
//   POST /test/rotate     new keys sign from now on, the old ones stay published
//   POST /test/retire     only the signing keys stay published
//   GET  /test/status     {"signing": kid, "published": [kid], "requests": {path: count}}
//
//   node provider.mjs [--port N] [--settings FILE] [--keys FILE] [--tls FILE --host NAME]
//
// With --keys the keys outlive a restart. With --tls (PEM: certificate and key) it speaks HTTPS, and
// its issuer has the name that --host gives. Prints `ready <issuer>` once it answers.

import { generateKeyPair, randomUUID } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { parseArgs, promisify } from 'node:util';
import { SignJWT, createLocalJWKSet, importJWK, jwtVerify } from 'jose';
import { Provider, errors } from 'oidc-provider';

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const REDIRECT_URI = 'https://app.example.com/callback';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    settings: { type: 'string' },
    keys: { type: 'string' },
    tls: { type: 'string' },
    host: { type: 'string', default: '127.0.0.1' },
  },
});
const readJson = (file) => JSON.parse(readFileSync(file, 'utf8'));
const settings = readJson(new URL('settings.json', import.meta.url));
if (options.settings) Object.assign(settings, readJson(options.settings));

// The first pair signs; the others are published only. The library takes its keys once, so
// a change of them builds its provider anew; what it stores lives here and outlives that.
let keyPairs = options.keys && existsSync(options.keys) ? readJson(options.keys) : [];
const stored = new Map();
const requests = {};
let provider;

const pem = options.tls && readFileSync(options.tls, 'utf8');
const server = pem ? createTlsServer({ cert: pem, key: pem }, handle) : createServer(handle);
server.listen(Number(options.port), '127.0.0.1', async () => {
  if (keyPairs.length === 0) keyPairs = [await newKeyPair()];
  publish();
  console.log(`ready ${issuer()}`);
});

function issuer() {
  return `${pem ? 'https' : 'http'}://${options.host}:${server.address().port}`;
}

async function handle(request, response) {
  const { pathname } = new URL(request.url, issuer());
  const counted = pathname.replace(/[\w-]{43}$/, ':uid');
  requests[counted] = (requests[counted] ?? 0) + 1;
  try {
    if (pathname.startsWith('/test/')) {
      await handleTest(pathname, request, response);
    } else {
      const { answer: instead } = settings.exchange;
      if (pathname === '/token' && instead && request.headers.authorization) {
        response.writeHead(instead.status, { 'content-type': 'application/json', ...instead.headers });
        return response.end(typeof instead.body === 'string' ? instead.body : JSON.stringify(instead.body));
      }
      if (pathname === '/reg' && request.method === 'POST') {
        // What a client says that it wants at first does not bound what it may ask for later.
        const { scope, ...client } = JSON.parse(await body(request));
        request.body = client;
      }
      if (pathname === '/jwks') response.setHeader('cache-control', `public, max-age=${settings.jwks_max_age_s}`);
      await provider.callback()(request, response);
    }
  } catch (error) {
    console.error(error);
    if (!response.headersSent) answer(response, 500, { error: String(error) });
  }
}

async function handleTest(pathname, request, response) {
  switch (`${request.method} ${pathname}`) {
    case 'POST /test/settings':
      Object.assign(settings, JSON.parse(await body(request)));
      return answer(response, 200, settings);
    case 'POST /test/rotate':
      keyPairs = [await newKeyPair(), ...keyPairs];
      publish();
      return answer(response, 200, status());
    case 'POST /test/retire':
      keyPairs = keyPairs.slice(0, 1);
      publish();
      return answer(response, 200, status());
    case 'GET /test/status':
      return answer(response, 200, status());
    default:
      if (pathname.startsWith('/test/interaction/')) return logIn(request, response);
      return answer(response, 404, { error: 'not found' });
  }
}

// What a login page and a consent page would do, for the user that `login_hint` names.
async function logIn(request, response) {
  const { params, prompt } = await provider.interactionDetails(request, response);
  const user = params.login_hint;
  if (!Object.hasOwn(settings.users, user ?? '')) {
    const refusal = { error: 'access_denied', error_description: `no user ${user} (${prompt.name})` };
    return provider.interactionFinished(request, response, refusal);
  }
  const grant = new provider.Grant({ accountId: user, clientId: params.client_id });
  grant.addOIDCScope('openid');
  if (params.resource) grant.addResourceScope(params.resource, params.scope ?? '');
  const result = { login: { accountId: user }, consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result);
}

async function newKeyPair() {
  const generate = promisify(generateKeyPair);
  const [ec, rsa] = await Promise.all([
    generate('ec', { namedCurve: 'P-256' }),
    generate('rsa', { modulusLength: 2048 }),
  ]);
  const jwk = ({ privateKey }, alg) => ({
    ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID(),
  });
  return { ES256: jwk(ec, 'ES256'), RS256: jwk(rsa, 'RS256') };
}

function status() {
  return {
    signing: keyPairs[0][settings.alg].kid,
    published: keyPairs.map((pair) => pair[settings.alg].kid),
    requests,
  };
}

function publish() {
  if (options.keys) writeFileSync(options.keys, JSON.stringify(keyPairs), { mode: 0o600 });
  provider = new Provider(issuer(), {
    adapter: Stored,
    jwks: { keys: keyPairs.flatMap((pair) => [pair.ES256, pair.RS256]) },
    cookies: { keys: ['only for tests'] },
    clients: [
      {
        client_id: 'app',
        token_endpoint_auth_method: 'none',
        grant_types: ['authorization_code'],
        response_types: ['code'],
        redirect_uris: [REDIRECT_URI],
      },
      {
        client_id: 'agent',
        client_secret: 'agent-secret',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
      },
      {
        client_id: 'gateway',
        client_secret: 'gateway-secret',
        grant_types: [TOKEN_EXCHANGE],
        response_types: [],
        redirect_uris: [],
      },
    ],
    scopes: ['openid'],
    ttl: {
      AccessToken: lifetime,
      AuthorizationCode: 60,
      ClientCredentials: lifetime,
      Grant: 3600,
      IdToken: 3600,
      Interaction: 60,
      Session: 60,
    },
    interactions: { url: (_, interaction) => `/test/interaction/${interaction.uid}` },
    findAccount: (_, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
    extraTokenClaims: (_, token) => (
      token.accountId ? settings.users[token.accountId] : settings.clients[token.clientId]
    ),
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      registration: { enabled: settings.registration },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: (_, resource) => resourceServer(resource),
      },
    },
  });
  const parameters = [
    'subject_token', 'subject_token_type', 'actor_token', 'actor_token_type',
    'requested_token_type', 'audience', 'resource', 'scope',
  ];
  provider.registerGrantType(TOKEN_EXCHANGE, exchange, parameters, ['audience', 'resource']);
  provider.on('server_error', (_, error) => console.error(error));
}

// RFC 8693 section 2: the subject's token of this provider for one with another audience, for the same subject, with the
// client that asks as its actor. What is wrong with the subject's token is `invalid_request` (section 2.2.2).
async function exchange(ctx) {
  const { client, params } = ctx.oidc;
  const { audiences, lax, delay_ms } = settings.exchange;
  if (delay_ms) await new Promise((resolve) => { setTimeout(resolve, delay_ms); });
  if (params.subject_token_type !== ACCESS_TOKEN) throw new errors.InvalidRequest('no such type of subject token');
  const keys = createLocalJWKSet({ keys: keyPairs.flatMap((pair) => [pair.ES256, pair.RS256].map(publicPart)) });
  const expected = { issuer: issuer(), typ: 'at+jwt' };
  const { payload: subject } = await jwtVerify(params.subject_token, keys, expected).catch(() => {
    throw new errors.InvalidRequest('the subject token is not acceptable');
  });
  const audience = [params.audience].flat()[0];
  if (!Object.hasOwn(audiences, audience ?? '')) throw new errors.InvalidTarget();
  const scopes = (params.scope ?? '').split(' ').filter(Boolean);
  if (!scopes.every((scope) => audiences[audience].includes(scope))) {
    throw new errors.InvalidScope('requested scope is not allowed', params.scope);
  }
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    ...settings.users[subject.sub],
    iss: issuer(),
    sub: subject.sub,
    aud: audience,
    client_id: client.clientId,
    scope: scopes.join(' '),
    act: { sub: client.clientId, ...(subject.act && { act: subject.act }) },
    iat: now,
    exp: Math.min(now + settings.token_ttl_s, subject.exp),
    jti: randomUUID(),
    ...lax,
  };
  const key = keyPairs[0][settings.alg];
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg: settings.alg, kid: key.kid, typ: 'at+jwt' })
    .sign(await importJWK(key, settings.alg));
  ctx.body = {
    access_token: token,
    issued_token_type: ACCESS_TOKEN,
    token_type: 'Bearer',
    expires_in: Math.max(claims.exp - now, 0),
    scope: claims.scope,
  };
}

function publicPart({ d, p, q, dp, dq, qi, ...key }) {
  return key;
}

function resourceServer(resource) {
  const scopes = settings.resources[resource] ?? settings.resources['*'];
  if (!scopes) throw new errors.InvalidTarget();
  return {
    audience: resource,
    scope: scopes.join(' '),
    accessTokenFormat: 'jwt',
    accessTokenTTL: settings.token_ttl_s,
    jwt: { sign: { alg: settings.alg, kid: keyPairs[0][settings.alg].kid } },
  };
}

function lifetime(_, token) {
  return token.resourceServer?.accessTokenTTL ?? settings.token_ttl_s;
}

// The library's storage interface over one map, so that codes and grants outlive a rotation.
class Stored {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload, expiresIn) {
    stored.set(this.key(id), { payload, end: Date.now() + (expiresIn ?? 3600) * 1000 });
    for (const [key, { end }] of stored) {
      if (end > Date.now()) break;
      stored.delete(key);
    }
  }

  async find(id) {
    return stored.get(this.key(id))?.payload;
  }

  async findByUid(uid) {
    return [...stored.values()].find(({ payload }) => payload.uid === uid)?.payload;
  }

  async consume(id) {
    stored.get(this.key(id)).payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    stored.delete(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const [key, { payload }] of stored) {
      if (payload.grantId === grantId) stored.delete(key);
    }
  }
}

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

function answer(response, code, value) {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(value)}\n`);
}

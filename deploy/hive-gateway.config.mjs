// Hive Gateway (`gateway.config.mjs`) with decisions from Palisade, operation by operation:
//
//   client -> Hive Gateway -> subgraphs, each operation asked about at Palisade 127.0.0.1:7254 (HTTP check)
//
//   PALISADE=http://127.0.0.1:7254/authz/storefront hive-gateway supergraph supergraph.graphql -c gateway.config.mjs
//
// In Palisade: a resource of `kind: graphql` with the same supergraph as its schema, and a PEP with `surfaces: [http_authz]`
// and `request_from: call` (the default), whose key is in PALISADE_KEY. An operation is executed if all of it is permitted: what
// `@authenticated`, `@requiresScopes` and `@policy` of the supergraph ask for, each field with its arguments, introspection.
//
// What must stay as it is:
//   status 200 alone           is a permit; any other answer, and none, is a denial
//   onParams                   is asked for what will be executed, not for what was sent; no plugin may change it after this one
//   websockets and multipart   off: by them operations would come that are not asked about whole

const palisade = process.env.PALISADE ?? 'http://127.0.0.1:7254/authz/storefront';
const key = process.env.PALISADE_KEY;

// Longer than `limits.deadline` of Palisade, which answers by then.
const TIMEOUT = 500;

// What belongs to the client's connection and to its body, which is written anew.
const NOT_TOLD = /^(connection|content-.*|expect|host|keep-alive|te|trailer|transfer-encoding|upgrade|x-palisade-.*)$/;

// Who asks, as Palisade says it, for the subgraphs.
const identities = new WeakMap();

function question(request, { query, operationName, variables, extensions }) {
  const headers = new Headers();
  for (const [name, value] of request.headers) if (!NOT_TOLD.test(name)) headers.append(name, value);
  if (key) headers.set('x-palisade-key', key);
  const signal = AbortSignal.timeout(TIMEOUT);
  if (request.method === 'GET') {
    return new Request(palisade + new URL(request.url).search, { headers, signal, redirect: 'manual' });
  }
  headers.set('content-type', 'application/json');
  const body = JSON.stringify({ query, operationName, variables, extensions });
  return new Request(palisade, { method: 'POST', headers, body, signal, redirect: 'manual' });
}

function denial(status, challenge) {
  const unauthenticated = status === 401;
  const message = unauthenticated ? 'Not authenticated' : status < 500 ? 'Not authorized' : 'No decision';
  const code = unauthenticated ? 'UNAUTHENTICATED' : status < 500 ? 'FORBIDDEN' : 'POLICY_EVALUATION_FAILED';
  const headers = challenge ? { 'www-authenticate': challenge } : {};
  return { errors: [{ message, extensions: { code } }], extensions: { http: { status, headers } } };
}

const decisions = {
  async onParams({ request, params, setResult }) {
    // A denial until there is an answer.
    let result = denial(503);
    try {
      const answer = await fetch(question(request, params));
      await answer.arrayBuffer();
      if (answer.status === 200) {
        const told = [...answer.headers].filter(([name]) => name.startsWith('x-palisade-'));
        identities.set(request, Object.fromEntries(told));
        return;
      }
      result = denial(answer.status < 400 ? 503 : answer.status, answer.headers.get('www-authenticate'));
    } catch {
      // No answer, or none in time.
    }
    setResult(result);
  },
};

export const gatewayConfig = {
  plugins: () => [decisions],
  propagateHeaders: {
    fromClientToSubgraphs: ({ request }) => identities.get(request) ?? {},
  },
  disableWebsockets: true,
  multipart: false,
  batching: false,
  graphiql: false,
  landingPage: false,
};

// An MCP server with the tools of a JSON file, on the official SDK (streamable HTTP, stateless,
// answers as JSON). A tool does nothing but say that it ran: its result repeats the name and the
// arguments. Every request that arrives is kept as it came, so that a test can tell what passed the
// proxy, and with which headers:
//
//   /mcp                    the MCP endpoint
//   GET /test/requests      [{"method", "url", "headers": [[name, value]], "body"}], oldest first
//   DELETE /test/requests   forgets them
//
//   node server.mjs [--port N] [--tools FILE]
//
// Prints `ready <url>` once it answers.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    tools: { type: 'string' },
  },
});
const tools = JSON.parse(readFileSync(options.tools ?? new URL('tools.json', import.meta.url), 'utf8'));
let received = [];

const http = createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/test/requests') return inspect(request, response);
  const text = await body(request);
  received.push({ method: request.method, url: request.url, headers: headers(request), body: text });
  if (pathname !== '/mcp') return answer(response, 404, { error: 'not found' });
  return serve(request, response, text);
});
http.listen(Number(options.port), '127.0.0.1', () => {
  console.log(`ready http://127.0.0.1:${http.address().port}/mcp`);
});

// Stateless: a server and a transport for each request, as the SDK asks for.
async function serve(request, response, text) {
  const server = new Server({ name: 'palisade-tests', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => call(params));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on('close', () => server.close());
  await server.connect(transport);
  let message;
  try {
    message = text === '' ? undefined : JSON.parse(text);
  } catch {
    return answer(response, 400, { jsonrpc: '2.0', id: null, error: { code: -32700, message: 'Parse error' } });
  }
  return transport.handleRequest(request, response, message);
}

function call({ name, arguments: args = {} }) {
  if (!tools.some((tool) => tool.name === name)) {
    return { isError: true, content: [{ type: 'text', text: `no tool ${name}` }] };
  }
  return { content: [{ type: 'text', text: JSON.stringify({ tool: name, arguments: args }) }] };
}

function inspect(request, response) {
  if (request.method === 'DELETE') received = [];
  return answer(response, 200, received);
}

// As pairs and not as a map: a header that came twice must be seen twice.
function headers({ rawHeaders }) {
  const pairs = [];
  for (let i = 0; i < rawHeaders.length; i += 2) pairs.push([rawHeaders[i].toLowerCase(), rawHeaders[i + 1]]);
  return pairs;
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

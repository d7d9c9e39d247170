// An MCP server whose tools are GraphQL operations, on the official SDK (streamable HTTP, stateless, answers as JSON). A call is
// one request to the router: the operation of the tool, the arguments as variables, with the token and the trace that the call
// came by. What the router answers is the result, as it is.
//
//   node server.mjs --tools FILE --router URL [--port N]
//
// FILE is an array of tools as `tools/list` shows them, each with its `operation`. Prints `ready <url>` once it answers.

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
    router: { type: 'string' },
  },
});
const operations = JSON.parse(readFileSync(options.tools, 'utf8'));
const tools = operations.map(({ operation, ...tool }) => tool);

const http = createServer(async (request, response) => {
  const server = new Server({ name: 'palisade-graphql', version: '1.0.0' }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => call(params, request.headers));
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true });
  response.on('close', () => server.close());
  await server.connect(transport);
  await transport.handleRequest(request, response);
});
http.listen(Number(options.port), '127.0.0.1', () => console.log(`ready http://127.0.0.1:${http.address().port}/mcp`));

async function call({ name, arguments: variables = {} }, { authorization, traceparent }) {
  const tool = operations.find((candidate) => candidate.name === name);
  if (!tool) return { isError: true, content: [{ type: 'text', text: `no tool ${name}` }] };
  const headers = { 'content-type': 'application/json' };
  if (authorization) headers.authorization = authorization;
  if (traceparent) headers.traceparent = traceparent;
  const body = JSON.stringify({ query: tool.operation, operationName: name, variables });
  const answer = await fetch(options.router, { method: 'POST', headers, body });
  const text = await answer.text();
  return { isError: answer.status !== 200, content: [{ type: 'text', text }] };
}

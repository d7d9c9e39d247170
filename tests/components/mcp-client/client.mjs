// An MCP client on the official SDK: connects with a token, lists tools, calls some, and prints one JSON object
//
//   {"server": {...}, "tools": [name], "calls": [{"tool", "text"} or {"tool", "error"}]}
//
//   node client.mjs --url URL [--token TOKEN] [--traceparent TRACE] [--call NAME=JSON]...

import { parseArgs } from 'node:util';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

const { values: options } = parseArgs({
  options: {
    url: { type: 'string' },
    token: { type: 'string' },
    traceparent: { type: 'string' },
    call: { type: 'string', multiple: true, default: [] },
  },
});
const headers = options.token ? { authorization: `Bearer ${options.token}` } : {};
if (options.traceparent) headers.traceparent = options.traceparent;
const transport = new StreamableHTTPClientTransport(new URL(options.url), { requestInit: { headers } });
const client = new Client({ name: 'palisade-tests', version: '1.0.0' });
await client.connect(transport);
const { tools } = await client.listTools();
const calls = [];
for (const call of options.call) {
  const [tool, text] = [call.slice(0, call.indexOf('=')), call.slice(call.indexOf('=') + 1)];
  try {
    const result = await client.callTool({ name: tool, arguments: JSON.parse(text) });
    calls.push({ tool, text: result.content?.[0]?.text });
  } catch (error) {
    calls.push({ tool, error: String(error.message ?? error) });
  }
}
console.log(JSON.stringify({ server: client.getServerVersion(), tools: tools.map(({ name }) => name), calls }));
await transport.terminateSession();
await client.close();

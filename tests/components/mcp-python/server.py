"""An MCP server on FastMCP: all revisions at one URL, and what the official conformance suite asks a server for.

    python server.py [--port N]

Prints `ready <url>` once it takes connections.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import secrets
import socket
import struct
import zlib

import mcp_types as types
from fastmcp import Context, FastMCP
from fastmcp.exceptions import ToolError
from fastmcp.prompts import Message
from fastmcp.resources import ResourceContent, ResourceResult
from fastmcp.tools import ToolResult
from mcp.shared.exceptions import MCPError

server = FastMCP("palisade-tests-fastmcp")
NOTHING = {"readOnlyHint": True, "openWorldHint": False}
# What an earlier round of a call has said is only believed with this.
STATE_KEY = secrets.token_bytes(32)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# One red pixel, and an eighth of a millisecond of silence.
PNG = b"\x89PNG\r\n\x1a\n" + b"".join([
    chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
    chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")),
    chunk(b"IEND", b""),
])
WAV = b"RIFF" + struct.pack("<I", 37) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) \
    + b"data" + struct.pack("<I", 1) + b"\x80"


def image():
    return types.ImageContent(type="image", data=base64.b64encode(PNG).decode(), mime_type="image/png")


def text(words):
    return types.TextContent(type="text", text=words)


def embedded(uri, kind, words):
    return types.EmbeddedResource(
        type="resource", resource=types.TextResourceContents(uri=uri, mime_type=kind, text=words)
    )


@server.tool(annotations=NOTHING)
def say(message: str) -> str:
    """Says what it was told."""
    return f"Said: {message}"


@server.tool(annotations=NOTHING)
def add(a: int, b: int) -> int:
    """Adds two whole numbers."""
    return a + b


@server.tool(annotations={"destructiveHint": True})
def forget(name: str) -> str:
    """Forgets something."""
    return f"forgot {name}"


@server.tool
def test_simple_text() -> ToolResult:
    """Answers with text."""
    return ToolResult(content=[text("This is a simple text response for testing.")])


@server.tool
def test_image_content() -> ToolResult:
    """Answers with an image."""
    return ToolResult(content=[image()])


@server.tool
def test_audio_content() -> ToolResult:
    """Answers with a sound."""
    sound = types.AudioContent(type="audio", data=base64.b64encode(WAV).decode(), mime_type="audio/wav")
    return ToolResult(content=[sound])


@server.tool
def test_embedded_resource() -> ToolResult:
    """Answers with a resource."""
    words = "This is an embedded resource content."
    return ToolResult(content=[embedded("test://embedded-resource", "text/plain", words)])


@server.tool
def test_multiple_content_types() -> ToolResult:
    """Answers with text, an image and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    resource = embedded("test://mixed-content-resource", "application/json", data)
    return ToolResult(content=[text("Multiple content types test:"), image(), resource])


@server.tool
def test_error_handling() -> ToolResult:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


@server.tool
async def test_tool_with_logging(ctx: Context) -> str:
    """Says what it does while it does it."""
    for words in ["Tool execution started", "Tool processing data", "Tool execution completed"]:
        await ctx.info(words)
        await asyncio.sleep(0.05)
    return "logged"


@server.tool
async def test_tool_with_progress(ctx: Context) -> str:
    """Says how far it is."""
    for progress in [0, 50, 100]:
        await ctx.report_progress(progress, 100)
        await asyncio.sleep(0.05)
    return "done"


@server.tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    message = types.SamplingMessage(role="user", content=text(prompt))
    answer = await ctx.session.create_message(messages=[message], max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {answer.content.text}"


async def elicited(ctx, message, properties, required=()):
    schema = {"type": "object", "properties": properties, "required": list(required)}
    answer = await ctx.session.elicit(message=message, requested_schema=schema, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={json.dumps(answer.content)}"


@server.tool
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the client's user."""
    fields = {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    }
    return "User response: " + await elicited(ctx, message, fields, fields)


@server.tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks with defaults."""
    fields = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return "Elicitation completed: " + await elicited(ctx, "Some of this is known", fields)


@server.tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks for choices."""
    plain = ["option1", "option2", "option3"]
    titled = [
        {"const": f"value{number}", "title": title}
        for number, title in enumerate(["First Option", "Second Option", "Third Option"], 1)
    ]
    fields = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {
            "type": "string", "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return "Elicitation completed: " + await elicited(ctx, "Choose", fields)


# What a round of a call can ask for (MCP 2026-07-28, multi round-trip requests).

def ask_user(message, name, kind="string"):
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def ask_model(words, most=100):
    message = types.SamplingMessage(role="user", content=text(words))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=most))


def required(requests, state=None):
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def answered(ctx, name, kind):
    """The answer under this name, if it is of the kind that was asked for."""
    answer = (ctx.input_responses or {}).get(name)
    return answer if isinstance(answer, kind) else None


def content(ctx, name, field):
    answer = answered(ctx, name, types.ElicitResult)
    return (answer.content or {}).get(field) if answer and answer.action == "accept" else None


def sealed(word):
    return f"{word}.{hmac.new(STATE_KEY, word.encode(), hashlib.sha256).hexdigest()}"


def opened(state):
    """The word of a state that is ours; any other ends the call."""
    word = (state or "").rpartition(".")[0]
    if not hmac.compare_digest(sealed(word), state or ""):
        raise MCPError(code=types.INVALID_PARAMS, message="the state is not one of this server")
    return word


@server.tool
def test_input_required_result_elicitation(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks for a name."""
    name = content(ctx, "user_name", "name")
    if not isinstance(name, str):
        return required({"user_name": ask_user("What is your name?", "name")})
    return ToolResult(content=[text(f"Hello, {name}!")])


@server.tool
def test_input_required_result_sampling(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks the client's model."""
    answer = answered(ctx, "capital_question", types.CreateMessageResult)
    if answer is None:
        return required({"capital_question": ask_model("What is the capital of France?")})
    return ToolResult(content=[text(answer.content.text)])


@server.tool
def test_input_required_result_list_roots(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks for the client's roots."""
    answer = answered(ctx, "client_roots", types.ListRootsResult)
    if answer is None:
        return required({"client_roots": types.ListRootsRequest()})
    return ToolResult(content=[text(" ".join(str(root.uri) for root in answer.roots))])


@server.tool
def test_input_required_result_request_state(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks with a state."""
    if content(ctx, "confirm", "ok") is None:
        return required({"confirm": ask_user("Please confirm", "ok", "boolean")}, sealed("confirm"))
    opened(ctx.request_state)
    return ToolResult(content=[text("state-ok")])


@server.tool
def test_input_required_result_tampered_state(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks with a state, and takes no other."""
    if ctx.request_state is None:
        return required({"confirm": ask_user("Please confirm", "ok", "boolean")}, sealed("tampered"))
    opened(ctx.request_state)
    return ToolResult(content=[text("state-ok")])


@server.tool
def test_input_required_result_multiple_inputs(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks for three things at once."""
    answers = [
        answered(ctx, "user_name", types.ElicitResult),
        answered(ctx, "greeting", types.CreateMessageResult),
        answered(ctx, "client_roots", types.ListRootsResult),
    ]
    if None in answers:
        requests = {
            "user_name": ask_user("What is your name?", "name"),
            "greeting": ask_model("Generate a greeting", 50),
            "client_roots": types.ListRootsRequest(),
        }
        return required(requests, sealed("three"))
    opened(ctx.request_state)
    return ToolResult(content=[text("all three")])


@server.tool
def test_input_required_result_multi_round(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks twice."""
    round_of = opened(ctx.request_state) if ctx.request_state else "0"
    if round_of == "1" and content(ctx, "step1", "name"):
        color = ask_user("Step 2: What is your favorite color?", "color")
        return required({"step2": color}, sealed("2"))
    if round_of == "2" and content(ctx, "step2", "color"):
        return ToolResult(content=[text("both rounds")])
    return required({"step1": ask_user("Step 1: What is your name?", "name")}, sealed("1"))


@server.tool
def test_input_required_result_capabilities(ctx: Context) -> ToolResult | types.InputRequiredResult:
    """Asks only for what the client can do."""
    capabilities = ctx.session.client_capabilities
    if ctx.input_responses:
        return ToolResult(content=[text("answered")])
    requests = {}
    if capabilities and capabilities.elicitation is not None:
        requests["user_name"] = ask_user("What is your name?", "name")
    if capabilities and capabilities.sampling is not None:
        requests["greeting"] = ask_model("Generate a greeting", 50)
    return required(requests) if requests else ToolResult(content=[text("nothing can be asked")])


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """Text that does not change."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image that does not change."""
    return PNG


@server.resource("test://watched-resource", mime_type="text/plain")
def watched_resource() -> str:
    """Something to subscribe to."""
    return "watched"


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> ResourceResult:
    """Data of an id."""
    data = json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})
    return ResourceResult([ResourceContent(data, mime_type="application/json")])


@server.prompt
def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


@server.prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
    """A prompt about a resource."""
    resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [Message(resource), Message("Please process the embedded resource above.")]


@server.prompt
def test_prompt_with_image() -> list[Message]:
    """A prompt about an image."""
    return [Message(image()), Message("Please analyze the image above.")]


@server.prompt
def test_input_required_result_prompt(ctx: Context) -> str | types.InputRequiredResult:
    """A prompt that asks first."""
    context = content(ctx, "user_context", "context")
    if context is None:
        return required({"user_context": ask_user("What context should the prompt use?", "context")})
    return f"With {context}"


@server.completion
def complete(reference, argument, context):
    return [word for word in ["paris", "park", "party"] if word.startswith(argument.value)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    port = parser.parse_args().port
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    print(f"ready http://127.0.0.1:{listener.getsockname()[1]}/mcp", flush=True)
    asyncio.run(server.run_http_async(
        show_banner=False, host="127.0.0.1", path="/mcp", sockets=[listener], log_level="warning"
    ))


main()

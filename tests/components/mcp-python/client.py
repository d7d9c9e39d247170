"""An MCP client on the official Python SDK. It has no token: its OAuth provider finds the resource's metadata and the
authorization server, registers, and walks the authorization code flow with PKCE; the browser is played by this script, for
the user that --user names. Step-ups are answered the same way. Prints one JSON object

    {"protocol": str, "authorizations": [scope], "tools": [name], "calls": [{"tool", "text"} or {"tool", "error"}]}

    python client.py --url URL --user NAME [--mode auto|legacy|REVISION] [--call NAME=JSON]...
"""

import argparse
import asyncio
import json
import logging
import sys
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

# Nobody listens there: the code is read off the redirect.
CALLBACK = "https://client.example.com/callback"


class Memory:
    """What the client keeps, for as long as it runs."""

    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Browser:
    """Follows an authorization request to the redirect that bears the code."""

    def __init__(self, user):
        self.user = user
        self.asked = []
        self.result = None

    async def visit(self, url):
        self.asked.append(parse_qs(urlsplit(url).query).get("scope", [""])[0])
        async with httpx2.AsyncClient(follow_redirects=False) as http:
            url = httpx2.URL(url).copy_merge_params({"login_hint": self.user})
            while not str(url).startswith(CALLBACK):
                answer = await http.get(url)
                if not answer.is_redirect:
                    raise RuntimeError(f"{url}: {answer.status_code} {answer.text}")
                url = answer.url.join(answer.headers["location"])
        parameters = parse_qs(urlsplit(str(url)).query)
        value = {name: values[0] for name, values in parameters.items()}
        if "code" not in value:
            raise RuntimeError(f"no code: {value}")
        self.result = AuthorizationCodeResult(code=value["code"], state=value.get("state"), iss=value.get("iss"))

    async def come_back(self):
        return self.result


async def run(options):
    browser = Browser(options.user)
    metadata = OAuthClientMetadata(
        client_name="palisade-tests",
        redirect_uris=[CALLBACK],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    provider = OAuthClientProvider(options.url, metadata, Memory(), browser.visit, browser.come_back)
    seen = {}
    async with httpx2.AsyncClient(auth=provider, timeout=20) as http:
        async with Client(streamable_http_client(options.url, http_client=http), mode=options.mode) as client:
            seen["protocol"] = client.protocol_version
            seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]
            seen["calls"] = [await called(client, *call.split("=", 1)) for call in options.call]
    seen["authorizations"] = browser.asked
    return seen


async def called(client, tool, arguments):
    try:
        result = await client.call_tool(tool, json.loads(arguments))
    except Exception as error:
        return {"tool": tool, "error": str(error)}
    return {"tool": tool, "error" if result.is_error else "text": result.content[0].text}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--call", action="append", default=[])
    logging.basicConfig(stream=sys.stderr)
    print(json.dumps(asyncio.run(run(parser.parse_args()))))


main()

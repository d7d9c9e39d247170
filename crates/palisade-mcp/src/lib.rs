//! MCP messages as access requests.

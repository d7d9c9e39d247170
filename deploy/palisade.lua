-- Asks Palisade about a request of HAProxy: `http-request lua.palisade RESOURCE whole-body|no-body` in haproxy.cfg.
--
-- The check is a POST to /authz/RESOURCE with the client's header fields, the client's request in X-Original-* (the form
-- `x_original` of the PEP), and for `whole-body` the body. Status 200 is a permit: its headers go on to the upstream, and
-- what it names is taken from the client's. Everything else goes to the client as Palisade said it. No answer, or one
-- that is none, is 503.
--
-- Only at the very end of a permit txn.palisade becomes `permit`. HAProxy goes on with a request when a script fails, so
-- haproxy.cfg denies whatever has no such variable.

local DECISION = "http://127.0.0.1:7254"
-- Longer than `limits.deadline`, 150 ms: Palisade answers before that.
local TIMEOUT = 500
-- `limits.body`. What is larger cannot be decided on.
local MOST_BODY = 65536
-- The key of this proxy's PEP.
local KEY = assert(os.getenv("PALISADE_KEY"), "the variable PALISADE_KEY is not set")

-- Fields of the client's connection, which its check has of its own.
local HOP = {
    ["connection"] = true, ["content-length"] = true, ["expect"] = true, ["host"] = true, ["keep-alive"] = true,
    ["proxy-connection"] = true, ["te"] = true, ["trailer"] = true, ["transfer-encoding"] = true, ["upgrade"] = true,
}

local function refuse(txn, status, headers, body)
    local reply = txn:reply({ status = status, body = body })
    for name, values in pairs(headers) do
        for _, value in pairs(values) do
            reply:add_header(name, value)
        end
    end
    txn:done(reply)
end

local function own_refusal(txn, status, code)
    refuse(txn, status, {
        ["content-type"] = { "application/json" },
        ["cache-control"] = { "no-store" },
    }, '{"error":"' .. code .. '"}')
end

-- The client's header fields, every value of each, without what is written here.
local function client_headers(txn)
    local headers = {}
    for name, values in pairs(txn.http:req_get_headers()) do
        local is_ours = name:find("^x[-_]palisade[-_]") or name:find("^x[-_]original[-_]")
            or name:find("^x[-_]forwarded[-_]")
        if not HOP[name] and not is_ours then
            local all = {}
            for index = 0, #values do
                all[#all + 1] = values[index]
            end
            headers[name] = all
        end
    end
    return headers
end

local function check(txn, resource, body)
    local headers = client_headers(txn)
    headers["x-palisade-key"] = { KEY }
    headers["x-original-method"] = { txn.f:method() }
    headers["x-original-proto"] = { txn.f:ssl_fc() == 1 and "https" or "http" }
    headers["x-original-host"] = { txn.f:req_fhdr("host") }
    headers["x-original-uri"] = { txn.f:pathq() }
    headers["x-forwarded-for"] = { txn.f:src() }
    return core.httpclient():post({
        url = DECISION .. "/authz/" .. resource,
        headers = headers,
        body = body,
        timeout = TIMEOUT,
    })
end

local function first(headers, name)
    local values = headers[name]
    return values and values[0]
end

local function palisade(txn, resource, reads)
    -- A list of hosts: the upstream could take another element of it than is decided on.
    if (txn.f:req_fhdr("host") or ""):find(",", 1, true) then
        return own_refusal(txn, 400, "invalid_request")
    end
    local body = nil
    if reads == "whole-body" then
        body = txn.f:req_body()
        if body and #body > MOST_BODY then
            return own_refusal(txn, 413, "invalid_request")
        end
        -- What did not come whole is not what the upstream gets.
        local declared = txn.f:req_fhdr("content-length")
        if declared and tonumber(declared) ~= #(body or "") then
            return own_refusal(txn, 400, "invalid_request")
        end
        -- An empty body would be announced as one.
        if body == "" then
            body = nil
        end
    end
    local asked, answer = pcall(check, txn, resource, body)
    local status = asked and answer and tonumber(answer.status) or 0
    -- What is not Palisade's, such as HAProxy's own page when nobody listens, is no answer.
    local is_palisades = status ~= 0 and first(answer.headers, "content-type") == "application/json"
    if status >= 400 and is_palisades then
        for name in pairs(HOP) do
            answer.headers[name] = nil
        end
        return refuse(txn, status, answer.headers, answer.body)
    end
    if status ~= 200 then
        return own_refusal(txn, 503, "temporarily_unavailable")
    end
    local written = { "x-palisade-subject", "x-palisade-scopes", "x-palisade-decision" }
    for name in (first(answer.headers, "x-envoy-auth-headers-to-remove") or ""):gmatch("[^, ]+") do
        txn.http:req_del_header(name)
        -- What is named and answered is the credential that takes the place of the client's.
        written[#written + 1] = name
    end
    for _, name in ipairs(written) do
        local value = first(answer.headers, name)
        if value then
            txn.http:req_set_header(name, value)
        end
    end
    txn:set_var("txn.palisade_decision_id", first(answer.headers, "x-palisade-decision-id"))
    txn:set_var("txn.palisade", "permit")
end

core.register_action("palisade", { "http-req" }, palisade, 2)

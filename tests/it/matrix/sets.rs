//! The ready-made sets as their test files tell of them: the resource, the tools, who asks, and with which arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use palisade_model::{Clock, SystemClock};
use palisade_tests::components::repository;
use serde_json::{Map, Value, json};

/// Within the age that any set asks for.
const RECENTLY: Duration = Duration::from_secs(30);

/// A policy set about one MCP resource.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) resource: String,
    pub(super) users: Vec<User>,
    /// What the test file says of the resource.
    settings: Value,
    folder: PathBuf,
    catalog: Vec<Value>,
    /// The arguments that the tests call a tool with.
    inputs: BTreeMap<String, Vec<Value>>,
}

/// Somebody of a test file: a principal and a token in its words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct User {
    principal: Value,
    token: Value,
    /// How long ago the user has logged in, where the token says it.
    login: Option<Duration>,
    /// Behind the id of a user: who is shown too many challenges within a minute is shown no more, and one user of a test
    /// file stands for many. No set knows a user by id.
    pub(super) number: usize,
}

/// The folder of the sets.
pub(super) fn folder() -> PathBuf {
    repository().join("policies")
}

/// Every set of a resource of kind `mcp`.
pub(super) fn read() -> Vec<Set> {
    let folders =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut files: Vec<PathBuf> =
        folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".test.yaml"));
    files.sort();
    files.iter().filter_map(|file| Set::read(file)).collect()
}

/// The issuers whose users there are, all with these keys.
pub(super) fn issuers(sets: &[Set], keys: &Path) -> Value {
    let users = || sets.iter().flat_map(|set| &set.users);
    let tags: BTreeSet<&String> =
        users().flat_map(|user| user.principal["tags"].as_object()).flat_map(Map::keys).collect();
    let claims = json!({ "roles": ["roles"], "groups": ["groups"], "tenant": "tenant", "tags": tags });
    let issuer = |name: &str| {
        (name.to_owned(), json!({ "issuer": issuer(name), "jwks": { "file": keys }, "claims": claims }))
    };
    let names: BTreeSet<&str> = users().filter_map(User::id).map(|id| halves(id).0).collect();
    names.into_iter().map(issuer).collect::<Map<_, _>>().into()
}

fn issuer(name: &str) -> String {
    format!("https://{name}.example.com")
}

/// The issuer and what it calls somebody or something.
fn halves(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or_else(|| panic!("`{name}` has no issuer"))
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap()).collect()
}

/// The elements of a list, also where there is none.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The least that a schema asks for, where that is texts.
fn least(schema: &Value) -> Value {
    let wanted = texts(&schema["required"]).into_iter();
    let wanted = wanted.filter(|name| schema["properties"][name]["type"] == "string");
    wanted.map(|name| (name.to_owned(), json!("x"))).collect::<Map<_, _>>().into()
}

impl Set {
    fn read(file: &Path) -> Option<Self> {
        let tests: Value = serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let resources = tests["resources"].as_object().unwrap();
        let mut of_mcp = resources.iter().filter(|(_, settings)| settings["kind"] == "mcp");
        let (resource, settings) = of_mcp.next()?;
        assert!(of_mcp.next().is_none(), "{}: say here which resource a case is about", file.display());
        let folder = file.parent().unwrap().to_owned();
        let catalog = fs::read_to_string(folder.join(settings["catalog"].as_str().unwrap())).unwrap();
        let catalog: Value = serde_json::from_str(&catalog).unwrap();
        let catalog = list(catalog.get("tools").unwrap_or(&catalog)).to_vec();
        let cases = list(&tests["cases"]);
        let mut users: Vec<User> = Vec::new();
        for user in list(&tests["matrix"]["personas"]).iter().chain(cases).map(User::read) {
            if !users.contains(&user) {
                users.push(user);
            }
        }
        let mut inputs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for tool in &catalog {
            inputs.insert(tool["name"].as_str().unwrap().to_owned(), vec![least(&tool["inputSchema"])]);
        }
        let of_cases = cases.iter().filter(|case| case["action"] == "tools/call");
        let of_cases = of_cases.map(|case| (case["target"].as_str().unwrap(), &case["arguments"]));
        let of_matrix = tests["matrix"]["arguments"].as_object().into_iter().flatten();
        let of_matrix = of_matrix.map(|(target, arguments)| (halves(target).1, arguments));
        for (tool, arguments) in of_cases.chain(of_matrix) {
            let known = inputs.entry(tool.to_owned()).or_insert_with(|| vec![json!({})]);
            if !arguments.is_null() && !known.contains(arguments) {
                known.push(arguments.clone());
            }
        }
        Some(Self { resource: resource.clone(), users, settings: settings.clone(), folder, catalog, inputs })
    }

    /// The resource as a configuration has it, behind a gateway at this port.
    pub(super) fn resource_at(&self, port: u16) -> Value {
        let mut resource = self.settings.clone();
        let members = resource.as_object_mut().unwrap();
        let (catalog, typed) = (members.remove("catalog").unwrap(), members.remove("typed"));
        let mut tools = json!({ "catalog": self.folder.join(catalog.as_str().unwrap()) });
        if let Some(typed) = typed {
            tools["typed"] = typed;
        }
        members.insert("tools".to_owned(), tools);
        members.insert("identifier".to_owned(), self.identifier_at(port).into());
        let issuers: BTreeSet<&str> = self.users.iter().filter_map(User::id).map(|id| halves(id).0).collect();
        members.insert("issuers".to_owned(), json!(issuers));
        resource
    }

    pub(super) fn identifier_at(&self, port: u16) -> String {
        format!("http://127.0.0.1:{port}/{}", self.resource)
    }

    /// The names of all tools: those of the catalogue, and those that the tests call although they are not in it.
    pub(super) fn tools(&self) -> impl Iterator<Item = &str> {
        self.inputs.keys().map(String::as_str)
    }

    pub(super) fn inputs(&self, tool: &str) -> &[Value] {
        self.inputs.get(tool).unwrap()
    }

    /// What the server offers: every tool.
    pub(super) fn offered(&self) -> Value {
        let known = |name: &str| self.catalog.iter().find(|tool| tool["name"] == name).cloned();
        let tool = |name: &str| {
            let mut tool = known(name).unwrap_or_else(|| json!({ "name": name }));
            tool.as_object_mut().unwrap().entry("inputSchema").or_insert_with(|| json!({ "type": "object" }));
            tool
        };
        self.tools().map(tool).collect()
    }
}

impl User {
    /// Of a persona or a case.
    fn read(described: &Value) -> Self {
        let token = described["token"].clone();
        let moment = |value: &Value| humantime::parse_rfc3339(value.as_str()?).ok();
        // Test files fix the time; here it is the service's, and only what lies between counts.
        let login = moment(&token["auth_time"])
            .map(|login| moment(&described["at"]).unwrap_or(login).duration_since(login).unwrap());
        Self { principal: described["principal"].clone(), token, login, number: 0 }
    }

    /// The id, with the issuer; nothing for nobody.
    fn id(&self) -> Option<&str> {
        self.principal["user"].as_str().or_else(|| self.principal["client"].as_str())
    }

    pub(super) fn is_nobody(&self) -> bool {
        self.id().is_none()
    }

    /// What a token for this audience says.
    pub(super) fn claims(&self, audience: &str) -> Option<Value> {
        let (issued_by, subject) = halves(self.id()?);
        let now = SystemClock.now();
        let own = |name: &str| halves(name).1.to_owned();
        let owns = |value: &Value| texts(value).into_iter().map(own).collect::<Vec<_>>();
        let client = match (self.principal["client"].as_str(), self.token["client"].as_str()) {
            (Some(client), _) | (None, Some(client)) => own(client),
            (None, None) => "app".to_owned(),
        };
        let numbered = format!("{subject}-{}", self.number);
        let subject = if self.principal["user"].is_null() { subject } else { numbered.as_str() };
        let mut claims = json!({
            "iss": issuer(issued_by), "sub": subject, "aud": audience, "client_id": client, "jti": "matrix",
            "iat": now.unix_seconds(), "exp": now.unix_seconds() + 300, "scope": texts(&self.token["scopes"]).join(" "),
            "roles": owns(&self.principal["roles"]), "groups": owns(&self.principal["groups"]),
        });
        if let Some(tenant) = self.principal["tenant"].as_str() {
            claims["tenant"] = own(tenant).into();
        }
        for (tag, values) in self.principal["tags"].as_object().into_iter().flatten() {
            claims[tag] = values.clone();
        }
        for name in ["acr", "amr"] {
            if !self.token[name].is_null() {
                claims[name] = self.token[name].clone();
            }
        }
        if let Some(login) = self.login {
            claims["auth_time"] = (now.unix_seconds() - i64::try_from(login.as_secs()).unwrap()).into();
        }
        // The current actor is outermost.
        for actor in texts(&self.token["actors"]).into_iter().rev() {
            let mut act = json!({ "sub": own(actor) });
            if let Some(before) = claims.as_object_mut().unwrap().remove("act") {
                act["act"] = before;
            }
            claims["act"] = act;
        }
        Some(claims)
    }

    /// The same user with what a challenge asks for, beside what the token had.
    pub(super) fn stronger(&self, challenge: &str) -> Self {
        let parameter = |name: &str| {
            let (_, rest) = challenge.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"').unwrap().0)
        };
        let mut stronger = self.clone();
        if stronger.token.is_null() {
            stronger.token = json!({});
        }
        let mut scopes: BTreeSet<&str> = texts(&self.token["scopes"]).into_iter().collect();
        scopes.extend(parameter("scope").into_iter().flat_map(|scopes| scopes.split(' ')));
        stronger.token["scopes"] = json!(scopes);
        if let Some(acr) = parameter("acr_values").and_then(|values| values.split(' ').next()) {
            stronger.token["acr"] = acr.into();
            stronger.login = Some(RECENTLY);
        }
        if parameter("max_age").is_some() {
            stronger.login = Some(RECENTLY);
        }
        assert_ne!(&stronger, self, "{challenge} asks for what there is");
        stronger
    }
}

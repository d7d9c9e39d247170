//! Who calls the decision listener: by key, by Unix socket, or unnamed on loopback.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use palisade_tests::components::{OidcProvider, Process, eventually, free_port};
use palisade_tests::service::{Palisade, binary};

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A service with two resources and the PEP `edge`, which may ask about one of them.
async fn start(auth: &str) -> Palisade {
    let provider = OidcProvider::start().await.unwrap();
    let policies = tempfile::tempdir().unwrap();
    let policy = "@id(\"p\") permit (principal is User, action in Mcp::Action::\"tools/call\", resource);";
    std::fs::write(policies.path().join("p.cedar"), policy).unwrap();
    let configuration = format!(
        "policies: {{path: {}, reload: off}}\nissuers:\n  corp: {{issuer: \"{}\", network: {{private: true}}}}\ndefaults: {{kind: mcp, \
         issuers: [corp], audiences: [all]}}\nresources:\n  demo: {{identifier: https://mcp.example.com/demo}}\n  other: {{identifier: \
         https://mcp.example.com/other}}\npeps:\n  edge: {{auth: {auth}, surfaces: [http_authz], resources: [demo]}}\n",
        policies.path().display(),
        provider.issuer()
    );
    let palisade = Palisade::start(&configuration, "").await.unwrap();
    palisade.wait_for_readiness(200).await.unwrap();
    palisade
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_its_pep_and_a_wrong_one_names_nobody() {
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("edge.key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let palisade = start(&format!("{{key: {{file: {}}}}}", file.display())).await;
    let ask = async |resource: &str, key: Option<&str>| {
        let url = format!("http://127.0.0.1:{}/authz/{resource}", palisade.decision);
        let request = reqwest::Client::new().get(url);
        let request = match key {
            Some(key) => request.header("x-palisade-key", key),
            None => request,
        };
        request.send().await.unwrap().status().as_u16()
    };
    // Without a token a known caller is told to get one; what a caller may not ask is refused before that.
    assert_eq!(ask("demo", Some(KEY)).await, 401);
    assert_eq!(ask("demo", None).await, 401);
    assert_eq!(ask("other", None).await, 401);
    assert_eq!(ask("other", Some(KEY)).await, 403);
    assert_eq!(ask("demo", Some("a key that is wrong and long enough")).await, 403);
    let counted = async || {
        let decisions = palisade.decisions()?;
        let said = |reason: &str, pep: Option<&str>| {
            decisions.iter().any(|record| {
                record.reason.as_str() == reason && record.pep.as_ref().map(|pep| pep.as_str()) == pep
            })
        };
        let all = said("no_credentials", Some("edge"))
            && said("no_credentials", Some("local"))
            && said("pep_not_allowed", Some("edge"))
            && said("pep_unauthenticated", None);
        Ok(all.then_some(()))
    };
    eventually("all five on the record", counted).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unix_socket_names_its_pep_by_the_user_of_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let own = std::fs::metadata(folder.path()).unwrap().uid();
    let (socket, admin) = (folder.path().join("decision.sock"), free_port().unwrap());
    std::fs::write(folder.path().join("jwks.json"), r#"{"keys":[]}"#).unwrap();
    std::fs::create_dir(folder.path().join("policies")).unwrap();
    std::fs::write(
        folder.path().join("policies/p.cedar"),
        "@id(\"p\") forbid (principal, action, resource);",
    )
    .unwrap();
    let configuration = format!(
        "version: 1\nlisten:\n  decision: {{address: \"unix:decision.sock\"}}\n  public: {{address: \"127.0.0.1:{}\"}}\n  admin: {{address: \
         \"127.0.0.1:{admin}\"}}\nissuers:\n  corp: {{issuer: \"https://corp.example.com\", jwks: {{file: jwks.json}}}}\nresources:\n  demo: \
         {{identifier: \"https://mcp.example.com/demo\", kind: mcp, issuers: [corp]}}\npeps:\n  sidecar: {{auth: {{unix: {own}}}, surfaces: \
         [http_authz], resources: '*'}}\n",
        free_port().unwrap()
    );
    let file = folder.path().join("palisade.yaml");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(binary().unwrap());
    command.arg("serve").arg("--config").arg(&file);
    let mut service = Process::start("palisade-unix", command).unwrap();
    let health = format!("http://127.0.0.1:{admin}/healthz");
    service
        .wait_until("an answer", async |_| Ok(reqwest::get(&health).await.is_ok().then_some(())))
        .await
        .unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket"])
        .arg(&socket)
        .arg("http://palisade/authz/demo");
    assert_eq!(String::from_utf8(curl.output().unwrap().stdout).unwrap(), "401");
    let query = || {
        let log = folder.path().join("audit");
        let found = Command::new(binary().unwrap())
            .args(["audit", "query", "--count-by", "pep", "--path"])
            .arg(log)
            .output()
            .unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    eventually("the record", async || Ok(query().contains("sidecar").then_some(()))).await.unwrap();
}

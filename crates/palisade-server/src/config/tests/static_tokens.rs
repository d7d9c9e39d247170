use palisade_model::{Clock, SystemClock};
use tempfile::TempDir;

use super::super::{build, load};
use super::{SAMPLE, check};

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.write("one", &"1".repeat(32));
        files.write("two", &"2".repeat(40));
        files.write("short", &"3".repeat(31));
        files.write("odd", &"4/".repeat(16));
        files.write("comma", &"5,".repeat(16));
        files
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), format!("{text}\n")).unwrap();
    }

    /// The sample with these static tokens, `@name` for a file.
    fn sample(&self, written: &str) -> String {
        let mut written = written.to_owned();
        for name in ["one", "two", "short", "odd", "comma", "gone"] {
            let path = self.0.path().join(name);
            written = written.replace(&format!("@{name}"), &format!("{{file: \"{}\"}}", path.display()));
        }
        SAMPLE.replace("issuers: [corp]}", &format!("issuers: [corp], static_tokens: {written}}}"))
    }

    fn check(&self, written: &str) -> Result<super::super::Built, String> {
        check(&self.sample(written))
    }
}

#[tokio::test]
async fn a_secret_and_whose_it_is_are_enough() {
    let files = Files::new();
    for written in [
        "{header: x-api-key, tokens: {ci: {secrets: [@one], client: static/ci}}}",
        "{header: Authorization, tokens: {ci: {secrets: [@odd, @two], user: corp/alice, scopes: [a], roles: [r], groups: [g]}}}",
        "{path: true, tokens: {ci: {secrets: [@one], client: corp/ci}, cron: {secrets: [@two], client: static/cron/a}}}",
        "{header: x-api-key, path: true, tokens: {ci: {secrets: [@one, @two], client: static/ci}}}",
    ] {
        let built = files.check(written).unwrap();
        let warned = built.warnings.iter().any(|warning| warning.contains("resources.files.static_tokens"));
        assert!(warned, "{:?}", built.warnings);
        let tokens = &built.snapshot.resources.by_name("files").unwrap().static_tokens;
        assert_eq!(tokens.in_path(), written.contains("path: true"));
        let printed = format!("{tokens:?}");
        assert!(!printed.contains("1111") && !printed.contains("2222"), "{printed}");
    }
}

#[test]
fn what_could_not_be_used_or_guessed_is_refused_with_its_place() {
    let files = Files::new();
    let with = |keys: &str| format!("{{header: x-api-key, tokens: {{ci: {{{keys}}}}}}}");
    for (written, says) in [
        ("{tokens: {ci: {secrets: [@one], client: static/ci}}}".to_owned(), "static_tokens.header: say where they come"),
        ("{header: x-api-key}".to_owned(), "static_tokens.tokens: at least one"),
        ("{header: \"a b\", tokens: {ci: {secrets: [@one], client: static/ci}}}".to_owned(), "no name of a header"),
        ("{header: Cookie, tokens: {ci: {secrets: [@one], client: static/ci}}}".to_owned(), "`cookie` is not for this"),
        ("{header: mcp-name, tokens: {ci: {secrets: [@one], client: static/ci}}}".to_owned(), "is not for this"),
        (with("client: static/ci"), "tokens.ci.secrets: one, or two"),
        (with("secrets: [@one, @two, @odd], client: static/ci"), "tokens.ci.secrets: one, or two"),
        (with("secrets: [@short], client: static/ci"), "tokens.ci.secrets.0: a secret has 32"),
        (with("secrets: [@one, @gone], client: static/ci"), "tokens.ci.secrets.1: "),
        (with("secrets: [@comma], client: static/ci"), "cannot stand where it comes"),
        (with("secrets: [@one, @one], client: static/ci"), "the same stands under `ci`"),
        (with("secrets: [s3cret], client: static/ci"), "expected one of file, env"),
        (with("secrets: [@one]"), "either `client` or `user`"),
        (with("secrets: [@one], client: static/ci, user: corp/alice"), "either `client` or `user`"),
        (with("secrets: [@one], client: ci"), "is not like corp/ci"),
        (with("secrets: [@one], client: static/"), "is not like corp/ci"),
        (with("secrets: [@one], client: other/ci"), "there is no issuer `other`"),
        (with("secrets: [@one], clients: static/ci"), "did you mean `client`?"),
        ("{path: true, tokens: {ci: {secrets: [@odd], client: static/ci}}}".to_owned(), "cannot stand where it comes"),
        (
            "{path: true, tokens: {ci: {secrets: [@one], client: static/ci}, cron: {secrets: [@one], client: static/cron}}}".to_owned(),
            "tokens.cron.secrets: the same stands under `ci`",
        ),
    ] {
        let error = files.check(&written).map(drop).unwrap_err();
        assert!(error.contains(says), "{written}: {error}");
        assert!(!error.contains("1111") && !error.contains("3333"), "{error}");
    }
    let http = files.sample("{path: true, tokens: {ci: {secrets: [@one], client: static/ci}}}");
    let error = check(&http.replace("kind: mcp", "kind: http")).map(drop).unwrap_err();
    assert!(error.contains("static_tokens.path: only for kind mcp"), "{error}");
    let taken = files.sample("{path: true, tokens: {ci: {secrets: [@one], client: static/ci}}}");
    let taken = taken.replace("issuers:\n", "issuers:\n  static: {issuer: \"https://static.example.com\"}\n");
    assert!(check(&taken).map(drop).unwrap_err().contains("an issuer is called `static`"));
}

#[tokio::test]
async fn another_secret_in_a_file_is_another_revision_and_files_are_relative_to_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("policies")).unwrap();
    std::fs::write(at("policies/p.cedar"), "@id(\"p\") permit (principal, action, resource);").unwrap();
    std::fs::write(at("ci.token"), "1".repeat(32)).unwrap();
    let tokens =
        "static_tokens: {path: true, tokens: {ci: {secrets: [{file: ci.token}], client: static/ci}}}";
    std::fs::write(
        at("palisade.yaml"),
        SAMPLE.replace("issuers: [corp]}", &format!("issuers: [corp], {tokens}}}")),
    )
    .unwrap();
    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(SystemClock);
    let revision = || {
        let loaded = load::read(&at("palisade.yaml")).unwrap();
        assert!(build::roots(&loaded).contains(&at("ci.token")));
        build::snapshot(&loaded, &build::Embedded::default(), None, &clock).unwrap().snapshot.revision
    };
    let before = revision();
    std::fs::write(at("ci.token"), "2".repeat(32)).unwrap();
    assert_ne!(before, revision());
}

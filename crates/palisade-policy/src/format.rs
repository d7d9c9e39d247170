//! The one way policies are laid out.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::{Diagnostic, SourceFile};

/// Lays out a policy file; comments stay. A file that is already laid out comes back unchanged.
///
/// # Errors
/// When the file is not valid Cedar.
pub fn format(file: &SourceFile) -> Result<String, Diagnostic> {
    let config = Config { line_width: 100, indent_width: 2 };
    policies_str_to_pretty(&file.text, &config).map_err(|report| {
        let error: &dyn miette::Diagnostic = report.as_ref();
        Diagnostic::from_cedar(error, file, (1, 1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatting_keeps_comments_and_changes_nothing_the_second_time() {
        let file = SourceFile::new(
            "a.cedar",
            "// why\n@id(\"a\") permit(principal,action,resource) when {context.scopes.contains(\"a\")}; // c",
        );
        let once = format(&file).unwrap();
        assert!(once.contains("// why") && once.contains("// c"), "{once}");
        assert!(once.contains("\npermit (principal, action, resource)"), "{once}");
        assert_eq!(format(&SourceFile::new("a.cedar", once.clone())).unwrap(), once);
    }

    #[test]
    fn what_is_no_policy_is_refused_with_its_place() {
        let error =
            format(&SourceFile::new("a.cedar", "permit (principal, action, resource)\nwhen")).unwrap_err();
        assert!(error.to_string().starts_with("a.cedar:2:"), "{error}");
    }
}

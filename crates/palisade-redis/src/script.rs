//! A script that a server runs as one step.

use aws_lc_rs::digest;

/// A script, and the name that a server knows it by once it has run it.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    name: String,
}

impl Script {
    /// A script in Lua.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        // The name is how a server finds a script in its cache, and no proof of anything.
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
        Self { text, name: hex::encode(digest) }
    }

    pub(crate) fn text(&self) -> &'static str {
        self.text
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_the_name_that_servers_give_it() {
        assert_eq!(Script::new("return 1").name(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }
}

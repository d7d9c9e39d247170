//! `gateway` as the servers behind it, checked.

use palisade_gateway::{StdioSettings, Upstream, UpstreamError};

use super::{build::Builder, types, values::ListenAddress};

impl Builder<'_> {
    /// Finds what is wrong with it.
    pub(super) fn gateway(&mut self) {
        let Some(gateway) = &self.config.gateway else { return };
        if matches!(gateway.address, ListenAddress::Unix(_)) {
            self.problem("gateway.address: write `host:port`: clients come over the network");
        }
        for (name, own) in &gateway.upstreams {
            if !self.config.resources.contains_key(name) {
                self.problem(format!("gateway.upstreams.{name}: there is no resource `{name}`"));
            }
            match upstream(own) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => self.problem(format!("gateway.upstreams.{name}: {error}")),
                Err(why) => self.problem(format!("gateway.upstreams.{name}: {why}")),
            }
        }
    }
}

/// The server that a section describes.
pub(crate) fn upstream(own: &types::Upstream) -> Result<Result<Upstream, UpstreamError>, &'static str> {
    let of_process = !own.environment.is_empty() || own.processes.is_some() || own.idle.is_some();
    match (&own.url, &own.stdio) {
        (Some(_), None) if of_process => Err("`environment`, `processes` and `idle` are for `stdio`"),
        (Some(url), None) => Ok(Upstream::http(url)),
        (None, Some(command)) => Ok(StdioSettings::command(command).and_then(|settings| {
            Upstream::stdio(StdioSettings {
                environment: own.environment.clone(),
                processes: own.processes.unwrap_or(settings.processes),
                idle: own.idle.map_or(settings.idle, |idle| idle.0),
                ..settings
            })
        })),
        (None, None) | (Some(_), Some(_)) => Err("write `url` or `stdio`, and not both"),
    }
}

//! The MCP gateway of this process: its listener, and the servers behind it.

use std::{collections::BTreeMap, io, sync::Arc};

use palisade_client::GatewayPoint;
use palisade_front::InProcess;
use palisade_gateway::{Bounds, Route, Routes, Upstream, serve};
use palisade_model::ResourceName;
use palisade_pdp::{Pdp, Pep};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{gateway::upstream, types::Gateway},
    listeners::{BindError, Socket},
    service::StartError,
};

/// A gateway that is bound and serves nobody yet.
#[derive(Debug)]
pub(crate) struct GatewayListener {
    listener: TcpListener,
    upstreams: BTreeMap<ResourceName, Upstream>,
}

impl GatewayListener {
    /// Binds the gateway of a configuration, with these servers beside those that it names; nothing where it has none.
    pub(crate) async fn bind(
        gateway: Option<&Gateway>,
        mut upstreams: BTreeMap<ResourceName, Upstream>,
    ) -> Result<Option<Self>, StartError> {
        let Some(gateway) = gateway else { return Ok(None) };
        for (name, own) in &gateway.upstreams {
            // What is written wrong was found when the configuration was read.
            let Ok(built) = upstream(own) else { continue };
            upstreams.insert(name.clone(), built.map_err(|error| StartError::Upstream(name.clone(), error))?);
        }
        let address = &gateway.address;
        let listener = match Socket::bind("gateway", address).await? {
            Socket::Tcp(listener) => listener,
            Socket::Unix(_) => {
                let (listener, address) = ("gateway", address.clone());
                let source = io::ErrorKind::Unsupported.into();
                return Err(BindError::Other { listener, address, source }.into());
            }
        };
        Ok(Some(Self { listener, upstreams }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        self.listener.local_addr().map(|address| address.to_string()).unwrap_or_default()
    }

    /// Serves the servers at the paths of their resources' identifiers; nothing only if the gateway's own name were none.
    pub(crate) fn serve(self, pdp: &Arc<Pdp>, stop: CancellationToken) -> Option<JoinHandle<io::Result<()>>> {
        let point: Arc<dyn GatewayPoint> =
            Arc::new(InProcess::new(Arc::clone(pdp), Pep::GATEWAY.parse().ok()?));
        let snapshot = pdp.snapshot();
        let route = |(name, upstream): (ResourceName, Upstream)| {
            let path = snapshot.resources.by_name(name.as_str())?.path().to_owned();
            Some(Route { resource: name.as_str().to_owned(), path, upstream })
        };
        let routes = Routes::new(&point, self.upstreams.into_iter().filter_map(route));
        Some(tokio::spawn(serve(self.listener, routes, Bounds::default(), stop)))
    }
}

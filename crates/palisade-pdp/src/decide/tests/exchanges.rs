//! Who is only said to be somebody has nothing that could be exchanged.

use std::sync::atomic::AtomicUsize;

use palisade_audit::ExchangeSource;
use palisade_model::Subject;

use super::*;
use crate::{Exchange, ExchangeFailure, Exchanged, Exchanger, Exchanging, FailureKind, Fingerprint, Order};

/// Counts what it is asked, and answers nobody.
#[derive(Debug)]
struct Counting(Arc<AtomicUsize>);

impl Exchanger for Counting {
    fn exchange(&self, _order: Order) -> Exchanging<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let failure = ExchangeFailure {
            kind: FailureKind::Unavailable,
            detail: String::new(),
            said: None,
            claims: None,
            retry_after: None,
        };
        Exchanging::Done(Exchanged { source: ExchangeSource::Provider, result: Err(failure) })
    }
}

#[tokio::test]
async fn an_asserted_subject_is_never_exchanged_for_a_token() {
    let asked = Arc::new(AtomicUsize::new(0));
    let exchange = Arc::new(Exchange {
        name: "ledger".parse().unwrap(),
        issuer: "corp".parse().unwrap(),
        audience: "https://ledger.example.com".to_owned(),
        scopes: Arc::default(),
        lifetime: Duration::from_secs(60),
        timeout: Duration::from_secs(5),
        requester: "corp/gw".to_owned(),
        fingerprint: Fingerprint([0; 32]),
        exchanger: Arc::new(Counting(Arc::clone(&asked))),
    });
    for surface in [Surface::Exchange, Surface::ExtAuthz] {
        let mut setup = Setup::new();
        setup.local = Pep {
            surfaces: BTreeSet::from([surface]),
            asserts: BTreeSet::from(["User".to_owned()]),
            exchange: BTreeSet::from([exchange.name.clone()]),
            ..Pep::local("edge".parse().unwrap())
        };
        setup.upstream_token = UpstreamToken::Exchange(exchange.name.clone());
        setup.exchanges = [(exchange.name.clone(), Arc::clone(&exchange))].into();
        let credential = Credential::AssertedByPep(Subject::named("User", "corp/alice"));
        let request = AccessRequest { pep: "edge".parse().ok(), surface, credential, ..request(&["open"]) };
        let by_name = AskedExchange { name: exchange.name.clone(), scopes: None };
        let by_name = (surface == Surface::Exchange).then_some(&by_name);
        let pdp = setup.pdp();
        let decision = pdp.exchange(&pdp.snapshot(), &request, by_name, Duration::MAX).await;
        pdp.audit().shutdown().await;
        assert!(matches!(decision, Decision::Deny(_)), "{surface:?}");
        assert_eq!(setup.recorded(), [(Reason::ExchangeRefused, 1)], "{surface:?}");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

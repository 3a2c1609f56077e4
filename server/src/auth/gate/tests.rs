use std::fs;

use http::{HeaderMap, HeaderValue};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::auth::checks::{IN_VAIN_MAX, PERIOD};
use crate::auth::config::{CertificateConfig, Forwarded, TokenConfig};
use crate::auth::jwt::tests::{Issuer, KNOWN, READ, claims, expected};
use crate::auth::right::Right;
use crate::auth::scope::Owned;
use crate::auth::watch::LOOK_AGAIN_EVERY;

const WRITE: Right = Right::new("things:write");
const RULES: Rules = Rules { domain: "test", rights: &KNOWN, methods: &[] };

const READERS: Rule = Rule::Access(Access::Right(READ));
const OWNERS: Rule = Rule::Access(Access::Owner { own: READ, any: WRITE });

/// A gate whose time is 500.
struct World {
    directory: TempDir,
    issuer: Issuer,
    gate: Arc<Gate>,
}

impl World {
    fn new() -> Self {
        Self::with(|config| config)
    }

    fn with(change: impl FnOnce(AuthConfig) -> AuthConfig) -> Self {
        let (directory, issuer) = (TempDir::new().unwrap(), Issuer::new());
        let (jwks, roles) = (directory.path().join("keys"), directory.path().join("roles"));
        fs::write(&jwks, issuer.jwks()).unwrap();
        let callers = json!([{ "certificate": "spiffe://x/reader", "rights": ["things:read"] }]);
        fs::write(&roles, json!({ "callers": callers }).to_string()).unwrap();
        let config = AuthConfig {
            tokens: Some(TokenConfig { jwks, ..expected() }),
            certificates: Some(CertificateConfig::default()),
            roles: Some(roles),
            reload_interval: Duration::from_secs(3_600),
        };
        let mut gate = Gate::load(change(config), RULES, 50).unwrap();
        Arc::get_mut(&mut gate).unwrap().clock = || 500;
        Self { directory, issuer, gate }
    }

    fn token(&self) -> HeaderMap {
        bearer(&self.issuer.token(&claims(json!({}))))
    }

    async fn ask(&self, rule: Rule, certificate: Option<&str>, headers: &HeaderMap) -> Answer {
        self.ask_from(&peer(certificate), rule, headers).await
    }

    /// As [`ask`](Self::ask), on a connection that may have carried calls before.
    async fn ask_from(&self, peer: &Peer, rule: Rule, headers: &HeaderMap) -> Answer {
        self.gate.admit(rule, peer, headers, |_| ()).await.map(|admitted| {
            let owns = |account| Owned::new(account, ()).within(&admitted.scope).is_ok();
            (admitted.principal.id().to_owned(), [7, 8].map(owns))
        })
    }
}

/// A new connection.
fn peer(certificate: Option<&str>) -> Peer {
    let certificate = certificate.map(|name| Ok(name.into()));
    let address = Some([10, 1, 2, 3].into());
    Peer { address, certificate, free_check: FreeCheck::default() }
}

/// The caller's name, and whether accounts 7 and 8 are within its scope.
type Answer = Result<(String, [bool; 2]), Denied>;

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn named(name: &str, owns: [bool; 2]) -> Answer {
    Ok((name.to_owned(), owns))
}

#[tokio::test]
async fn a_rule_lets_pass_whom_it_names() {
    let world = World::new();
    let (token, nobody) = (world.token(), HeaderMap::new());
    let reader = Some("spiffe://x/reader");
    assert_eq!(world.ask(READERS, None, &token).await, named("alice", [false, false]));
    assert_eq!(world.ask(OWNERS, None, &token).await, named("alice", [true, false]));
    assert_eq!(
        world.ask(READERS, reader, &nobody).await,
        named("spiffe://x/reader", [false, false])
    );
    assert_eq!(world.ask(READERS, None, &nobody).await, Err(Denied::NoCredential));

    let stranger = Some("spiffe://x/stranger");
    assert_eq!(world.ask(READERS, stranger, &nobody).await, Err(Denied::Right(READ)));
    let writers = Rule::Access(Access::Right(WRITE));
    assert_eq!(world.ask(writers, None, &token).await, Err(Denied::Right(WRITE)));
    let known = Rule::Access(Access::Authenticated);
    assert!(world.ask(known, stranger, &nobody).await.is_ok());
    assert_eq!(world.ask(known, None, &nobody).await, Err(Denied::NoCredential));
}

#[tokio::test]
async fn what_has_no_rule_is_refused_to_everybody_and_what_is_not_served_is_not_there() {
    let world = World::new();
    let token = world.token();
    assert_eq!(world.ask(Rule::Missing, None, &token).await, Err(Denied::NoRule));
    assert_eq!(world.ask(Rule::NoMethod, None, &token).await, Err(Denied::NoMethod));
    for rule in [Rule::Missing, Rule::NoMethod] {
        let nobody = world.ask(rule, None, &HeaderMap::new()).await;
        assert_eq!(nobody, Err(Denied::NoCredential));
    }
}

#[tokio::test]
async fn what_is_open_is_so_with_a_broken_credential_too() {
    let world = World::new();
    let open = Rule::Access(Access::Open);
    for headers in [HeaderMap::new(), bearer("broken")] {
        assert_eq!(world.ask(open, None, &headers).await, named("anonymous", [false, false]));
    }
}

#[tokio::test]
async fn a_bad_token_is_no_better_for_the_certificate_beside_it() {
    let world = World::new();
    let reader = Some("spiffe://x/reader");
    for headers in ["Bearer x", "Bearer", "Basic eDp5", ""] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(headers))]);
        assert!(world.ask(READERS, reader, &headers).await.is_err());
    }
    let mut twice = world.token();
    twice.append(AUTHORIZATION, twice[AUTHORIZATION].clone());
    assert_eq!(world.ask(READERS, reader, &twice).await, Err(Denied::NotBearer));
}

#[tokio::test]
async fn a_kind_of_credential_that_is_not_asked_for_does_not_count() {
    let reader = Some("spiffe://x/reader");
    let tokens = World::with(|config| AuthConfig { certificates: None, ..config });
    let answer = tokens.ask(READERS, reader, &HeaderMap::new()).await;
    assert_eq!(answer, Err(Denied::NoCredential));

    let certificates = World::with(|config| AuthConfig { tokens: None, ..config });
    let token = certificates.token();
    assert_eq!(certificates.ask(READERS, None, &token).await, Err(Denied::NoCredential));
    assert!(certificates.ask(READERS, reader, &token).await.is_ok());
}

#[tokio::test]
async fn a_trusted_proxy_speaks_for_its_caller_and_is_not_taken_for_it() {
    let forwarded = |peers: &str| Forwarded {
        header: "l5d-client-id".parse().unwrap(),
        peers: vec![peers.parse().unwrap()],
    };
    let world = |peers| {
        let certificates = CertificateConfig { forwarded: Some(forwarded(peers)) };
        World::with(|config| AuthConfig { certificates: Some(certificates), ..config })
    };
    let header = |name| HeaderMap::from_iter([("l5d-client-id".parse().unwrap(), name)]);
    let reader = header(HeaderValue::from_static("spiffe://x/reader"));
    let proxy = Some("spiffe://x/proxy");

    let trusting = world("10.0.0.0/8");
    assert!(trusting.ask(READERS, None, &reader).await.is_ok());
    let nobody = header(HeaderValue::from_static(""));
    let as_reader = trusting.ask(READERS, Some("spiffe://x/reader"), &nobody).await;
    assert!(matches!(as_reader, Err(Denied::Forwarded(_))), "{as_reader:?}");

    // What the handshake proved is not replaced by what a header says.
    assert_eq!(trusting.ask(READERS, proxy, &reader).await, Err(Denied::Conflict));
    assert!(trusting.ask(READERS, Some("spiffe://x/reader"), &reader).await.is_ok());
    let conflict = Denied::Conflict.status("test");
    assert_eq!(conflict.code(), tonic::Code::Unauthenticated);

    let other = world("192.0.2.0/24");
    assert_eq!(other.ask(READERS, proxy, &reader).await, Err(Denied::Right(READ)));
    assert_eq!(other.ask(READERS, None, &reader).await, Err(Denied::NoCredential));
}

#[tokio::test]
async fn a_token_that_was_good_is_refused_once_it_has_expired() {
    let mut world = World::new();
    let token = world.token();
    assert!(world.ask(READERS, None, &token).await.is_ok());
    Arc::get_mut(&mut world.gate).unwrap().clock = || 1_030;
    let expired = Err(Denied::Token(TokenError::Expired));
    assert_eq!(world.ask(READERS, None, &token).await, expired);
}

#[tokio::test]
async fn a_new_key_is_found_when_the_first_token_needs_it_and_a_gone_one_is_gone_with_its_tokens() {
    let world = World::new();
    let before = world.token();
    assert!(world.ask(READERS, None, &before).await.is_ok());

    let next = Issuer::new();
    let jwks = next.jwks().replace(r#""ec""#, r#""next""#);
    fs::write(world.directory.path().join("keys"), jwks).unwrap();
    let header = json!({ "alg": "ES256", "kid": "next" });
    let after = bearer(&next.sign(&header, &claims(json!({}))));
    assert_eq!(world.ask(READERS, None, &after).await, named("alice", [false, false]));
    let gone = Err(Denied::Token(TokenError::UnknownKey));
    assert_eq!(world.ask(READERS, None, &before).await, gone);
}

#[tokio::test(start_paused = true)]
async fn tokens_with_made_up_keys_have_the_files_read_once_in_five_seconds() {
    let world = World::new();
    let keys = world.directory.path().join("keys");
    let made_up = |key: &str| {
        let header = json!({ "alg": "ES256", "kid": key });
        bearer(&world.issuer.sign(&header, &claims(json!({}))))
    };
    let unknown = Err(Denied::Token(TokenError::UnknownKey));
    assert_eq!(world.ask(READERS, None, &made_up("x")).await, unknown);

    fs::write(&keys, world.issuer.jwks().replace(r#""ec""#, r#""y""#)).unwrap();
    assert_eq!(world.ask(READERS, None, &made_up("y")).await, unknown);
    tokio::time::advance(LOOK_AGAIN_EVERY).await;
    assert!(world.ask(READERS, None, &made_up("y")).await.is_ok());
}

/// A token of the issuer's key, as far as it says, that the issuer did not sign.
fn forged(world: &World, number: usize) -> HeaderMap {
    let token = world.issuer.token(&claims(json!({ "n": number })));
    bearer(&format!("{}{number}", token))
}

#[tokio::test(start_paused = true)]
async fn forged_tokens_of_an_address_are_checked_up_to_a_bound_and_known_callers_never_notice() {
    let world = World::new();
    let (known, fresh) = (world.token(), bearer(&world.issuer.token(&claims(json!({ "n": 1 })))));
    let strangers = peer(None);
    assert!(world.ask(READERS, None, &known).await.is_ok());

    let (mut checked, mut unchecked) = (0, 0);
    for number in 0..1_000 {
        match world.ask_from(&strangers, READERS, &forged(&world, number)).await {
            Err(Denied::Token(_)) => checked += 1,
            Err(Denied::TooManyInVain) => unchecked += 1,
            other => panic!("{other:?}"),
        }
    }
    let one_free = 1;
    assert_eq!(checked, IN_VAIN_MAX / 2 + one_free);
    assert_eq!(unchecked, 1_000 - checked);

    let alice = || named("alice", [false, false]);
    assert_eq!(world.ask_from(&strangers, READERS, &known).await, alice());
    let refused = world.ask_from(&strangers, READERS, &fresh).await;
    assert_eq!(refused, Err(Denied::TooManyInVain));
    tokio::time::advance(PERIOD).await;
    assert_eq!(world.ask_from(&strangers, READERS, &fresh).await, alice());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_does_not_keep_those_out_who_share_its_address() {
    let world = World::new();
    let strangers = [peer(None), peer(None), peer(None)];
    for number in 0..2_000 {
        let answer = world.ask_from(&strangers[number % 3], READERS, &forged(&world, number)).await;
        assert!(answer.is_err());
    }
    let mut callers = Vec::new();
    for number in 0..50 {
        let fresh = bearer(&world.issuer.token(&claims(json!({ "m": number }))));
        callers.push(world.ask(READERS, None, &fresh).await);
    }
    assert_eq!(callers, vec![named("alice", [false, false]); 50]);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_say_themselves_that_they_are_bad_take_no_place_from_others() {
    let world = World::new();
    let connection = peer(None);
    let header = json!({ "alg": "ES256", "kid": "made-up" });
    for number in 0..1_000 {
        let of_others = claims(json!({ "aud": "other", "n": number }));
        let late = claims(json!({ "exp": 7, "n": number }));
        for bad in [
            format!("broken.{number}"),
            world.issuer.sign(&header, &late),
            world.issuer.token(&of_others),
            world.issuer.token(&late),
        ] {
            let answer = world.ask_from(&connection, READERS, &bearer(&bad)).await;
            assert!(matches!(answer, Err(Denied::Token(_))), "{answer:?}");
        }
    }
    let fresh = world.ask_from(&connection, READERS, &world.token()).await;
    assert_eq!(fresh, named("alice", [false, false]));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_added_costs_the_tokens_of_the_others_no_check() {
    let world = World::new();
    let connection = peer(None);
    let known = world.token();
    assert!(world.ask_from(&connection, READERS, &known).await.is_ok());
    for number in 0..1_000 {
        let _refused = world.ask_from(&connection, READERS, &forged(&world, number)).await;
    }

    // From here on nothing is checked on this connection.
    let with_another =
        world.issuer.jwks().replacen('[', &format!("[{},", Issuer::new().key("new")), 1);
    fs::write(world.directory.path().join("keys"), with_another).unwrap();
    world.gate.watch.look_again().await;
    assert_eq!(world.gate.watch.now().keys.len(), 3);
    let alice = world.ask_from(&connection, READERS, &known).await;
    assert_eq!(alice, named("alice", [false, false]));
}

#[tokio::test(start_paused = true)]
async fn changed_roles_are_in_force_for_tokens_that_are_known() {
    let world = World::new();
    let token = world.token();
    assert_eq!(world.ask(OWNERS, None, &token).await, named("alice", [true, false]));
    let callers = json!([{ "subject": "alice", "rights": [], "accounts": [8] }]);
    let roles = json!({ "callers": callers }).to_string();
    fs::write(world.directory.path().join("roles"), roles).unwrap();
    world.gate.watch.look_again().await;
    assert_eq!(world.ask(OWNERS, None, &token).await, named("alice", [true, true]));
}

#[tokio::test(start_paused = true)]
async fn a_broken_file_is_told_and_keeps_nothing_back_of_the_other() {
    let world = World::new();
    let path = |file| world.directory.path().join(file);
    let roles = fs::read_to_string(path("roles")).unwrap();
    let look = async || {
        tokio::time::advance(LOOK_AGAIN_EVERY).await;
        world.gate.watch.look_again().await;
        world.gate.troubles()
    };
    assert!(look().await.is_empty());

    let next = Issuer::new();
    fs::write(path("roles"), "{").unwrap();
    fs::write(path("keys"), next.jwks()).unwrap();
    let told = look().await;
    assert!(told.len() == 1 && told[0].contains(path("roles").to_str().unwrap()), "{told:?}");
    let token = bearer(&next.token(&claims(json!({}))));
    assert!(world.ask(READERS, None, &token).await.is_ok());
    let reader = Some("spiffe://x/reader");
    assert!(world.ask(READERS, reader, &HeaderMap::new()).await.is_ok());

    fs::write(path("keys"), "{").unwrap();
    fs::write(path("roles"), roles.replace("reader", "other")).unwrap();
    let told = look().await;
    assert!(told.len() == 1 && told[0].contains(path("keys").to_str().unwrap()), "{told:?}");
    assert!(world.ask(READERS, None, &token).await.is_ok());
    let answer = world.ask(READERS, Some("spiffe://x/other"), &HeaderMap::new()).await;
    assert!(answer.is_ok(), "{answer:?}");

    fs::remove_file(path("roles")).unwrap();
    fs::write(path("keys"), next.jwks()).unwrap();
    let told = look().await;
    assert!(told.len() == 1 && told[0].contains("cannot read"), "{told:?}");
    fs::write(path("roles"), roles).unwrap();
    assert!(look().await.is_empty());
}

#[tokio::test]
async fn a_changed_file_takes_effect_and_a_broken_one_does_not() {
    let world =
        World::with(|config| AuthConfig { reload_interval: Duration::from_millis(5), ..config });
    let watching = tokio::spawn(world.gate.clone().keep_reloading());
    let (roles, writer) = (world.directory.path().join("roles"), Some("spiffe://x/late"));
    fs::write(&roles, "{").unwrap();
    let is_in = async || world.ask(READERS, writer, &HeaderMap::new()).await.is_ok();
    let reader = Some("spiffe://x/reader");
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(world.ask(READERS, reader, &HeaderMap::new()).await.is_ok());
    }

    let callers = json!([{ "certificate": "spiffe://x/late", "rights": ["things:read"] }]);
    fs::write(&roles, json!({ "callers": callers }).to_string()).unwrap();
    let came = async {
        while !is_in().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), came).await.expect("the new roles never came into force");
    let gone = world.ask(READERS, reader, &HeaderMap::new()).await;
    assert_eq!(gone, Err(Denied::Right(READ)));
    watching.abort();
}

#[test]
fn refusals_say_in_standard_words_what_is_missing() {
    use tonic_types::StatusExt;

    for (denied, code, reason, challenge) in [
        (Denied::NoCredential, 16, "UNAUTHENTICATED", Some("Bearer")),
        (
            Denied::Token(TokenError::Audience),
            16,
            "UNAUTHENTICATED",
            Some(r#"Bearer error="invalid_token""#),
        ),
        (Denied::Right(READ), 7, "PERMISSION_DENIED", None),
        (Denied::NoRule, 7, "PERMISSION_DENIED", None),
    ] {
        let status = denied.status("test");
        assert_eq!(i32::from(status.code()), code);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "test"));
        let told = status.metadata().get("www-authenticate").map(|told| told.to_str().unwrap());
        assert_eq!(told, challenge);
    }
    // Which check a forged token failed is for the log.
    let told = [TokenError::Signature, TokenError::UnknownKey, TokenError::Audience]
        .map(|error| Denied::Token(error).status("test").message().to_owned());
    assert_eq!(told, ["the token is not valid"; 3]);
}

use std::path::Path;
use std::process::{Command, Output};

use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::*;

fn cluster(byte: u8) -> SecretKey {
    SecretKey::from_seed(Zeroizing::new([byte; 32])).unwrap()
}

fn now() -> OffsetDateTime {
    time::macros::datetime!(2026-06-01 12:00 UTC)
}

fn terms<'a>(common_name: &'a str, hosts: &'a [String], serial: &'a [u8]) -> Request<'a> {
    Request {
        common_name,
        hosts,
        now: now(),
        lifetime: Duration::days(90),
        serial,
    }
}

fn issuing(byte: u8) -> IssuingCa {
    IssuingCa::create(&cluster(byte), &[0x41, byte], now())
        .unwrap()
        .0
}

fn hosts(hosts: &[&str]) -> Vec<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

/// "a CSR asking for CA:TRUE or other SANs gets a plain leaf"
#[test]
fn of_a_request_the_public_key_is_taken_and_nothing_else() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut wish = CertificateParams::default();
    wish.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wish.distinguished_name = named("admin");
    wish.subject_alt_names = vec![alternative_name("bank.example").unwrap()];
    wish.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wish.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    let wish = wish.serialize_request(&key).unwrap();
    let request = SigningRequest::parse(wish.der()).unwrap();
    assert_eq!(request.hosts(), ["bank.example"]);
    let own = hosts(&["n1", "10.0.0.1"]);
    let chain = issuing(1)
        .sign(&request, Purpose::Server, &terms("n1", &own, &[9]))
        .unwrap();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    assert!(!leaf.is_ca());
    assert_eq!(leaf.subject().to_string(), "CN=n1");
    assert_eq!(leaf.public_key().raw, request.spki_der());
    let found = inspect::inspect(&chain, &context(&|_| None)).unwrap();
    assert_eq!(found.certificates[0].hosts, own);
    assert_eq!(found.certificates[0].uses, ["server"]);
    assert_eq!(leaf.raw_serial(), [9]);
}

fn context(revoked: &dyn Fn(&[u8]) -> Option<String>) -> inspect::Context<'_> {
    inspect::Context {
        now: now(),
        host: None,
        key: None,
        cluster: None,
        issuing: &[],
        revoked,
    }
}

#[test]
fn each_purpose_is_good_for_its_own_use() {
    let ca = issuing(1);
    let names = hosts(&["n1"]);
    let uses = |purpose, hosts: &[String]| {
        let leaf = ca.leaf(purpose, &terms("x", hosts, &[7])).ok()?;
        let report = inspect::inspect(&leaf.chain, &context(&|_| None)).unwrap();
        Some(report.certificates[0].uses.join("+"))
    };
    let said = |purpose, hosts: &[String]| uses(purpose, hosts).unwrap_or_default();
    assert_eq!(said(Purpose::Server, &names), "server");
    assert_eq!(said(Purpose::Store, &names), "server+client");
    assert_eq!(said(Purpose::Service, &[]), "client");
    assert_eq!(said(Purpose::Service, &names), "server+client");
    assert_eq!(said(Purpose::User, &[]), "client");
    assert_eq!(said(Purpose::Tool, &[]), "client");
    for (purpose, hosts) in [
        (Purpose::Server, [].as_slice()),
        (Purpose::Store, &[]),
        (Purpose::User, &names),
        (Purpose::Tool, &names),
    ] {
        assert_eq!(uses(purpose, hosts), None, "{purpose:?}");
    }
}

#[test]
fn a_request_that_proves_no_key_is_refused() {
    let made = make_request("n1", &[]).unwrap();
    assert!(SigningRequest::parse(&made.request).is_ok());
    // The last bytes are the signature's.
    let mut forged = made.request.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(SigningRequest::parse(&forged).is_err());
    // Another one's key under the own signature.
    let other = make_request("n1", &[]).unwrap().request;
    let (mine, theirs) = (
        SigningRequest::parse(&made.request).unwrap(),
        SigningRequest::parse(&other).unwrap(),
    );
    let at = made
        .request
        .windows(mine.spki_der().len())
        .position(|window| window == mine.spki_der())
        .unwrap();
    let mut stolen = made.request.clone();
    stolen[at..at + theirs.spki_der().len()].copy_from_slice(theirs.spki_der());
    let error = SigningRequest::parse(&stolen).err().unwrap();
    assert!(matches!(error, IssueError::NotProved), "{error}");
    let mut longer = made.request.clone();
    longer.push(0);
    assert!(SigningRequest::parse(&longer).is_err());
    assert!(SigningRequest::parse(b"").is_err());
}

#[test]
fn a_leaf_does_not_outlive_its_ca() {
    let until = now() + Duration::days(3);
    let (ca, _) = IssuingCa::create_until(&cluster(1), &[5], now(), Some(until)).unwrap();
    let leaf = ca.user(&terms("alice", &[], &[7])).unwrap();
    let (_, leaf) = X509Certificate::from_der(&leaf.chain[0]).unwrap();
    assert_eq!(leaf.validity().not_after.to_datetime(), until);
    let mut late = terms("alice", &[], &[8]);
    late.now = until;
    assert!(matches!(ca.user(&late), Err(IssueError::Expired(_))));
}

#[test]
fn an_issuing_ca_is_one_that_the_cluster_key_certified() {
    let made = IssuingCa::request().unwrap();
    let request = SigningRequest::parse(&made.request).unwrap();
    let certify = |key: &SecretKey| certify_issuing_ca(key, &request, &[5], now(), None).unwrap();
    let certificate = certify(&cluster(1));
    let (key, spki) = (cluster(1).public(), request.spki_der());
    IssuingCa::check(&certificate, &key, Some(spki)).unwrap();
    IssuingCa::load(certificate.clone(), &made.key).unwrap();
    // Another cluster's, another key's, the root, a leaf.
    assert!(IssuingCa::check(&certify(&cluster(2)), &key, Some(spki)).is_err());
    let other = issuing(1).certificate().to_vec();
    assert!(IssuingCa::check(&other, &key, Some(spki)).is_err());
    assert!(IssuingCa::load(other, &made.key).is_err());
    let root = root_certificate(&cluster(1), now()).unwrap();
    assert!(IssuingCa::check(&root, &key, None).is_err());
    let leaf = issuing(1).user(&terms("alice", &[], &[7])).unwrap();
    assert!(IssuingCa::check(&leaf.chain[0], &key, None).is_err());
    // Two of one day are told apart by their names.
    let name = |der: &[u8]| {
        X509Certificate::from_der(der)
            .unwrap()
            .1
            .subject()
            .to_string()
    };
    assert_ne!(name(&certificate), name(issuing(1).certificate()));
}

fn openssl(dir: &Path, args: &[&str]) -> Output {
    Command::new("openssl")
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
}

/// OpenSSL is what PostgreSQL asks: both lists are needed, and a revoked certificate is refused.
#[test]
fn openssl_refuses_what_the_lists_name() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let key = cluster(1);
    let now = OffsetDateTime::now_utc();
    let (ca, _) = IssuingCa::create(&key, &[0x45], now).unwrap();
    write(
        "root.crt",
        certificate_pem(&root_certificate(&key, now - BACKDATE).unwrap()),
    );
    write("issuing.crt", certificate_pem(ca.certificate()));
    for serial in [7_u8, 8] {
        let mut terms = terms("alice", &[], &[]);
        (terms.now, terms.serial) = (now, std::slice::from_ref(&serial));
        let leaf = ca.user(&terms).unwrap();
        write(&format!("{serial}.crt"), certificate_pem(&leaf.chain[0]));
    }
    let revoked = [Revoked {
        serial: vec![8],
        at: now,
    }];
    let root = root_revocation_list(&key, &[], now).unwrap();
    let own = ca
        .revocation_list(&revoked, now, now + Duration::days(7))
        .unwrap();
    let (_, list) = CertificateRevocationList::from_der(&own).unwrap();
    assert_eq!(list.iter_revoked_certificates().count(), 1);
    let both = revocation_list_pem(&root) + &revocation_list_pem(&own);
    write("crl.pem", both);
    write("half.pem", revocation_list_pem(&own));
    let old = ca
        .revocation_list(&[], now - Duration::days(9), now - Duration::days(2))
        .unwrap();
    write(
        "old.pem",
        revocation_list_pem(&root) + &revocation_list_pem(&old),
    );
    let verify = |lists: &str, leaf: &str| {
        let args = [
            "verify",
            "-crl_check_all",
            "-CRLfile",
            lists,
            "-CAfile",
            "root.crt",
            "-untrusted",
            "issuing.crt",
            leaf,
        ];
        let output = openssl(dir.path(), &args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), said)
    };
    assert_eq!(verify("crl.pem", "7.crt"), (true, String::new()));
    assert!(verify("crl.pem", "8.crt").1.contains("certificate revoked"));
    assert!(
        verify("half.pem", "7.crt")
            .1
            .contains("unable to get certificate CRL")
    );
    assert!(verify("old.pem", "7.crt").1.contains("CRL has expired"));
}

/// What others send is read by libraries; whatever it is, the answer is an error and no more.
#[test]
fn damaged_requests_and_certificates_are_errors() {
    let request = make_request("n1", &hosts(&["n1", "10.0.0.1"]))
        .unwrap()
        .request;
    let certificate = issuing(1)
        .server(&terms("n1", &hosts(&["n1", "10.0.0.1"]), &[9]))
        .unwrap()
        .chain
        .swap_remove(0);
    let sound = SigningRequest::parse(&request).unwrap();
    for index in 0..request.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = request.clone();
            damaged[index] ^= change;
            // The wrapping around what is signed may be read leniently; the key stays the one that signed.
            if let Ok(read) = SigningRequest::parse(&damaged) {
                assert_eq!(read.spki_der(), sound.spki_der(), "{index}");
            }
        }
        assert!(SigningRequest::parse(&request[..index]).is_err());
    }
    for index in 0..certificate.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut damaged = certificate.clone();
            damaged[index] ^= change;
            drop(inspect::inspect(&[damaged], &context(&|_| None)));
        }
    }
}

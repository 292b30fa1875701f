//! Every kind of fault: where it is found, what it says, and that the remedy is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

use palisade_hba::{FaultKind, FieldName, Rules, limits};

/// Line, column, token and kind of the only fault of the text.
#[track_caller]
fn fault(text: &str) -> (u32, u32, String, FaultKind) {
    let error = Rules::parse(text).expect_err(text);
    assert_eq!(error.faults().count(), 1, "{error}");
    let fault = error.first().clone();
    assert!(!fault.kind.remedy().is_empty());
    (fault.line, fault.column, fault.token, fault.kind)
}

#[track_caller]
fn check(text: &str, line: u32, column: u32, token: &str, kind: FaultKind) {
    assert_eq!(
        fault(text),
        (line, column, token.to_owned(), kind),
        "{text}"
    );
}

#[test]
fn the_message_names_the_place_the_cause_and_the_remedy() {
    let error = Rules::parse("# ours\nhost all all 10.0.0.0/8 md5\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 25: \"md5\": this method of PostgreSQL is not offered; \
         write auto, key, cert or scram-sha-256"
    );
    assert_eq!((error.line(), error.column()), (2, 25));
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let text = "hots all all all auto\nhostssl all all all auto\nhost all all\nhost all all example.org md5\n";
    let error = Rules::parse(text).unwrap_err();
    let places: Vec<_> = error.faults().map(|f| (f.line, f.column, f.kind)).collect();
    assert_eq!(
        places,
        [
            (1, 1, FaultKind::UnknownConnectionType),
            (3, 13, FaultKind::Missing(FieldName::Address)),
            (4, 14, FaultKind::HostName),
        ]
    );
    assert_eq!(error.to_string().lines().count(), 3);
}

#[test]
fn methods_that_palisade_does_not_offer_are_refused() {
    for method in [
        "md5", "password", "ident", "peer", "gss", "sspi", "pam", "bsd", "ldap", "radius", "oauth",
    ] {
        check(
            &format!("local all all {method}"),
            1,
            15,
            method,
            FaultKind::RefusedMethod,
        );
    }
    for method in ["scram", "SCRAM-SHA-256", "Trust", "krb5", "all"] {
        check(
            &format!("local all all {method}"),
            1,
            15,
            method,
            FaultKind::UnknownMethod,
        );
    }
}

#[test]
fn cert_and_key_need_tls() {
    for method in ["cert", "key"] {
        check(
            &format!("local all all {method}"),
            1,
            15,
            method,
            FaultKind::MethodNeedsHostssl,
        );
        for kind in ["host", "hostnossl", "hostnogssenc"] {
            let text = format!("{kind} all all all {method}");
            assert_eq!(fault(&text).3, FaultKind::MethodNeedsHostssl);
        }
        Rules::parse(&format!("hostssl all all all {method}")).unwrap();
    }
}

#[test]
fn fields() {
    use FieldName::{Address, ConnectionType, Database, Mask, Method, User};
    check("host", 1, 5, "", FaultKind::Missing(Database));
    check("host all", 1, 9, "", FaultKind::Missing(User));
    check("host all all", 1, 13, "", FaultKind::Missing(Address));
    check(
        "host all all all # x",
        1,
        21,
        "",
        FaultKind::Missing(Method),
    );
    check("host all all 10.0.0.1", 1, 22, "", FaultKind::Missing(Mask));
    check("local all all", 1, 14, "", FaultKind::Missing(Method));
    check(
        "local,host all all all trust",
        1,
        7,
        "host",
        FaultKind::SeveralValues(ConnectionType),
    );
    check(
        "host all all ::1/128,all trust",
        1,
        22,
        "all",
        FaultKind::SeveralValues(Address),
    );
    check(
        "host all all 10.0.0.1 255.0.0.0,1 trust",
        1,
        33,
        "1",
        FaultKind::SeveralValues(Mask),
    );
    check(
        "local all all trust,reject",
        1,
        21,
        "reject",
        FaultKind::SeveralValues(Method),
    );
    check("local \"\" all trust", 1, 7, "", FaultKind::EmptyName);
    check("local all a,+ trust", 1, 13, "+", FaultKind::EmptyName);
    check(
        "local /^a all trust",
        1,
        7,
        "/^a",
        FaultKind::RegularExpression,
    );
    check(
        "local all \"/^a\" trust",
        1,
        11,
        "/^a",
        FaultKind::RegularExpression,
    );
    check(
        "hostgssenc all all all trust",
        1,
        1,
        "hostgssenc",
        FaultKind::GssEncryption,
    );
    check(
        "HOST all all all trust",
        1,
        1,
        "HOST",
        FaultKind::UnknownConnectionType,
    );
}

#[test]
fn addresses() {
    for (address, kind) in [
        ("example.org", FaultKind::HostName),
        (".example.org", FaultKind::HostName),
        ("\"all\"", FaultKind::HostName),
        ("ALL", FaultKind::HostName),
        ("10.1/16", FaultKind::InvalidAddress),
        ("10/8", FaultKind::InvalidAddress),
        ("0x0a000001/32", FaultKind::InvalidAddress),
        ("010.0.0.1/32", FaultKind::InvalidAddress),
        ("300.0.0.1/32", FaultKind::InvalidAddress),
        ("1:2/64", FaultKind::InvalidAddress),
        ("fe80::1%lo/64", FaultKind::ZonedAddress),
        ("10.0.0.0/33", FaultKind::InvalidPrefix),
        ("10.0.0.0/", FaultKind::InvalidPrefix),
        ("10.0.0.0/-1", FaultKind::InvalidPrefix),
        ("10.0.0.0/8/8", FaultKind::InvalidPrefix),
        ("10.0.0.0/99999999999", FaultKind::InvalidPrefix),
        ("::/129", FaultKind::InvalidPrefix),
    ] {
        let (line, column, token, found) = fault(&format!("host all all {address} trust"));
        assert_eq!((line, column, found), (1, 14, kind), "{address}");
        assert_eq!(token, address.trim_matches('"'));
    }
    check(
        "host all all 10.0.0.1 trust",
        1,
        23,
        "trust",
        FaultKind::InvalidMask,
    );
    check(
        "host all all 10.0.0.1 ::1 trust",
        1,
        23,
        "::1",
        FaultKind::MaskFamily,
    );
    check(
        "host all all ::1 255.0.0.0 trust",
        1,
        18,
        "255.0.0.0",
        FaultKind::MaskFamily,
    );
}

#[test]
fn options() {
    let head = "hostssl all all all";
    for (rest, token, kind) in [
        ("trust yes", "yes", FaultKind::OptionSyntax),
        ("trust radius=1", "radius=1", FaultKind::UnknownOption),
        ("cert map=ours", "map=ours", FaultKind::RefusedOption),
        (
            "cert clientname=DN",
            "clientname=DN",
            FaultKind::RefusedOption,
        ),
        (
            "trust clientcert=1",
            "clientcert=1",
            FaultKind::ClientcertValue,
        ),
        (
            "trust clientcert=no-verify",
            "clientcert=no-verify",
            FaultKind::ClientcertValue,
        ),
        (
            "cert clientcert=verify-ca",
            "clientcert=verify-ca",
            FaultKind::CertVerifiesFully,
        ),
        (
            "key clientcert=verify-ca",
            "clientcert=verify-ca",
            FaultKind::ClientcertForMethod,
        ),
        (
            "auto clientcert=verify-full",
            "clientcert=verify-full",
            FaultKind::ClientcertForMethod,
        ),
        (
            "trust clientcert=verify-ca clientcert=verify-full",
            "clientcert=verify-full",
            FaultKind::DuplicateOption,
        ),
    ] {
        let (_, _, found_token, found) = fault(&format!("{head} {rest}"));
        assert_eq!((found_token.as_str(), found), (token, kind), "{rest}");
    }
    let (_, _, _, kind) = fault("host all all all trust clientcert=verify-ca");
    assert_eq!(kind, FaultKind::ClientcertNeedsHostssl);
}

#[test]
fn what_postgresql_takes_for_something_else_is_refused() {
    // PostgreSQL: four fields `a`, `b`, ... and `b` is taken for the user.
    check("host a ,b all all trust", 1, 8, ",", FaultKind::StrayComma);
    check("host ,a all all trust", 1, 6, ",", FaultKind::StrayComma);
    check("host a,,b all all trust", 1, 8, ",", FaultKind::StrayComma);
    check("local all all trust,", 1, 21, "", FaultKind::StrayComma);
    check("local all all trust, # x", 1, 21, "", FaultKind::StrayComma);
    // PostgreSQL: the quote ends with the line.
    check(
        "local all \"all trust",
        1,
        11,
        "all trust",
        FaultKind::UnterminatedQuote,
    );
    check(
        "local all a\u{1b}[2J trust",
        1,
        12,
        "\u{1b}",
        FaultKind::ControlCharacter,
    );
    check(
        "local all a\0 trust",
        1,
        12,
        "\0",
        FaultKind::ControlCharacter,
    );
    check(
        "local all \"a\rb\" trust",
        1,
        13,
        "\r",
        FaultKind::ControlCharacter,
    );
}

#[test]
fn one_text_is_the_whole_file() {
    check(
        "local all @admins trust",
        1,
        11,
        "@admins",
        FaultKind::IncludedFile,
    );
    check(
        "local a,@dbs all trust",
        1,
        9,
        "@dbs",
        FaultKind::IncludedFile,
    );
    check("@rules", 1, 1, "@rules", FaultKind::IncludedFile);
    for directive in ["include", "include_if_exists", "include_dir"] {
        check(
            &format!("{directive} x"),
            1,
            1,
            directive,
            FaultKind::IncludeDirective,
        );
    }
    Rules::parse("local \"@a\" @ trust").unwrap();
}

#[test]
fn places_in_continued_lines_are_physical_ones() {
    check(
        "host all \\\n  all \\\n all md5\n",
        3,
        6,
        "md5",
        FaultKind::RefusedMethod,
    );
    check(
        "host all all \\\n",
        2,
        1,
        "",
        FaultKind::Missing(FieldName::Address),
    );
    check(
        "# comment \\\nmd5\nlocal all all md5",
        3,
        15,
        "md5",
        FaultKind::RefusedMethod,
    );
    // Columns are characters, not bytes.
    check("local äöü all md5", 1, 15, "md5", FaultKind::RefusedMethod);
}

#[test]
fn bounds() {
    let rule = |name: &str| format!("local all {name} trust");
    Rules::parse(&rule(&"a".repeat(limits::MAX_TOKEN_BYTES))).unwrap();
    check(
        &rule(&"a".repeat(limits::MAX_TOKEN_BYTES + 1)),
        1,
        11,
        "",
        FaultKind::TokenTooLong,
    );

    let list = |count: usize| rule(&vec!["a"; count].join(","));
    Rules::parse(&list(limits::MAX_TOKENS_PER_LINE - 3)).unwrap();
    assert_eq!(
        fault(&list(limits::MAX_TOKENS_PER_LINE - 2)).3,
        FaultKind::TooManyTokens
    );

    Rules::parse(&"#".repeat(limits::MAX_TEXT_BYTES)).unwrap();
    check(
        &"#".repeat(limits::MAX_TEXT_BYTES + 1),
        1,
        1,
        "",
        FaultKind::TextTooLong,
    );

    Rules::parse(&"\n".repeat(limits::MAX_LINES - 1)).unwrap();
    let line = u32::try_from(limits::MAX_LINES).unwrap() + 1;
    check(
        &"\n".repeat(limits::MAX_LINES),
        line,
        1,
        "",
        FaultKind::TooManyLines,
    );

    let error = Rules::parse(&"x\n".repeat(limits::MAX_FAULTS + 50)).unwrap_err();
    assert_eq!(error.faults().count(), limits::MAX_FAULTS + 1);
    assert_eq!(
        error.faults().last().unwrap().kind,
        FaultKind::TooManyFaults
    );
}

/// The messages quote the bounds; they stand in `limits.rs`.
#[test]
fn the_messages_quote_the_true_bounds() {
    let says = |kind: FaultKind, number: usize| {
        assert!(kind.to_string().contains(&number.to_string()), "{kind}");
    };
    says(FaultKind::TextTooLong, limits::MAX_TEXT_BYTES / 1024);
    says(FaultKind::TooManyLines, limits::MAX_LINES);
    says(FaultKind::TooManyTokens, limits::MAX_TOKENS_PER_LINE);
    says(FaultKind::TokenTooLong, limits::MAX_TOKEN_BYTES);
    says(FaultKind::TooManyFaults, limits::MAX_FAULTS);
}

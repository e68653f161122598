//! What is watched: the figures of a probe, and secrets that are not there.

use super::*;

#[test]
fn a_missing_secret_is_a_warning() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("token"), "from-file\n").expect("written");
    fs::set_permissions(dir.path().join("token"), fs::Permissions::from_mode(0o600)).expect("set");
    let secrets = [
        "{ env = \"NOBODY\" }",
        "{ file = \"nowhere\" }",
        "{ command = [\"false\"] }",
        "{ file = \"token\" }",
        "{ command = [\"printf\", \"from-command\"] }",
    ];
    let mut text = HEAD.to_owned();
    for (n, secret) in secrets.iter().enumerate() {
        let begin = format!("[[feed]]\nname = \"f{n}\"\nalertmanager = \"http://x/\"\n");
        text.extend([begin.as_str(), "token = ", *secret, "\n"]);
    }
    let found = load(&text, dir.path(), &environment).expect("missing secrets stop nothing");
    let lines: Vec<usize> = found.warnings.iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [6, 10, 14]);
    let tokens: Vec<_> = found
        .io
        .feeds
        .iter()
        .map(|feed| match feed {
            FeedTarget::Alertmanager(http) => match &http.token {
                Some(Secret::Known(token)) => token.as_str(),
                Some(Secret::File(path)) => path.to_str().expect("a name"),
                Some(Secret::Missing(_)) | None => "",
            },
            other => panic!("{other:?}"),
        })
        .collect();
    // A file is read when its secret is used.
    let [nowhere, token] = ["nowhere", "token"].map(|name| dir.path().join(name));
    let [nowhere, token] = [&nowhere, &token].map(|path| path.to_str().expect("a name"));
    assert_eq!(tokens, ["", nowhere, "", token, "from-command"]);
}

#[test]
fn figures_of_a_probe_have_names_units_and_limits() {
    let service = "[[service]]\nname = \"web\"\n[[service.probe]]\n";
    let http = format!("{HEAD}{service}http = \"http://x/\"\n");
    let text = "figures = [{ path = \"replica.lag\", unit = \"s\", below = 2.5 }, \
                { name = \"CPU\", path = \"cpu\" }]\n";
    let found = loaded(&format!("{http}{text}")).io;
    let ProbeTarget::Http { figures, .. } = &found.probes[0] else { panic!("{found:?}") };
    let told: Vec<_> = figures
        .iter()
        .map(|own| (own.name.as_str(), own.path.join("/"), own.unit.as_str(), own.below))
        .collect();
    let lag = ("lag", "replica/lag".to_owned(), "s", Some(2.5));
    assert_eq!(told, [lag, ("CPU", "cpu".to_owned(), "", None)]);
    let check = |text: &str, problem: &str| {
        let found = lines(text);
        assert!(found.len() == 1 && found[0].contains(problem), "{text}: {found:?}");
    };
    check(&format!("{http}figures = [{{ unit = \"s\" }}]\n"), "needs `path`");
    check(&format!("{http}figures = [{{ path = \"a\", above = 1 }}]\n"), "unknown key `above`");
    check(&format!("{http}figures = [{{ path = \"a\\nb\" }}]\n"), "plain letters");
    let many = "{ path = \"a\" }, ".repeat(9);
    check(&format!("{http}figures = [{many}]\n"), "at most 8 figures");
    check(
        &format!("{HEAD}{service}tcp = \"x:1\"\nfigures = [{{ path = \"a\" }}]\n"),
        "belongs to http probes",
    );
}

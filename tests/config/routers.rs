//! Routers that would overwrite each other, or refuse every write, are told when the file is read.

use super::*;

#[test]
fn one_router_stands_under_one_service() {
    let two = |router: &str| {
        format!(
            "{HEAD}[[service]]\nname = \"web\"\n[[service.router]]\n{router}[[service]]\n\
             name = \"shop\"\n[[service.router]]\n{router}"
        )
    };
    let groups = "stable = \"b:1\"\ncanary = \"g:1\"\n";
    for router in [
        "haproxy = \"/run/h.sock\"\nbackend = \"app\"\nstable = \"b\"\ncanary = \"g\"\n".to_owned(),
        format!(
            "{groups}nginx = {{ file = \"/etc/n/a.conf\", pid = \"/run/n.pid\", \
             test = [\"nginx\", \"-t\"], proof = \"http://127.0.0.1:1/\", upstream = \"a\" }}\n"
        ),
        "http = { url = \"http://x/split\" }\n".to_owned(),
        "command = { read = [\"x\"], set = [\"y\", \"{a}\"] }\n".to_owned(),
    ] {
        let found = load(&two(&router), fixtures(), &environment);
        let problems = found.expect_err("two services, one router");
        let text = format!("{problems:?}");
        assert!(text.contains("names a router that stands here already"), "{router}: {text}");
    }
}

#[test]
fn a_router_that_cannot_work_is_told_before_it_is_needed() {
    let nginx = |proof: &str| {
        format!(
            "{HEAD}[[service]]\nname = \"web\"\n[[service.router]]\nstable = \"b:1\"\n\
             canary = \"g:1\"\ntimeout = \"20s\"\nnginx = {{ file = \"/gone/a.conf\", \
             pid = \"/gone/n.pid\", test = [\"nginx\", \"-t\"], proof = \"{proof}\" }}\n"
        )
    };
    let problems =
        load(&nginx("https://127.0.0.1:1/"), fixtures(), &environment).expect_err("no https");
    assert!(format!("{problems:?}").contains("never over https"), "{problems:?}");
    let found =
        load(&nginx("http://127.0.0.1:1/"), fixtures(), &environment).expect("may come later");
    let text = format!("{:?}", found.warnings);
    for part in ["there is no directory /gone", "there is no file /gone/n.pid"] {
        assert!(text.contains(part), "{text} lacks {part}");
    }
    assert_eq!(found.engine.routers[0].timeout, Duration::from_secs(20));
    let text = nginx("http://127.0.0.1:1/").replace("20s", "21s");
    assert!(load(&text, fixtures(), &environment).is_err(), "the decision comes after 25 s");
}

#[test]
fn a_managed_file_of_another_block_is_a_warning() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("split.conf");
    let first = include_str!("../../fixtures/routers/nginx-start.conf");
    std::fs::write(&file, first).expect("writes");
    let check = |service: &str, more: &str, expected: Option<&str>| {
        let text = format!(
            "{HEAD}[[service]]\nname = \"{service}\"\n[service.router]\nstable = \"b:1\"\n\
             canary = \"g:1\"\nnginx = {{ file = \"{}\", pid = \"p\", test = [\"nginx\"], \
             proof = \"http://127.0.0.1:1/\"{more} }}\n",
            file.display()
        );
        let warnings = format!("{:?}", loaded(&text).warnings);
        let told = warnings.contains("is left as it is");
        assert_eq!(told, expected.is_some(), "{warnings}");
        assert!(expected.is_none_or(|part| warnings.contains(part)), "{warnings}");
    };
    check("app", "", None);
    check("checkout", ", upstream = \"app\"", None);
    check("checkout", "", Some("`upstream app`, configured is `upstream checkout`"));
    check("app", ", split_by = \"$remote_addr\"", Some("configured is `split_clients $app`"));
}

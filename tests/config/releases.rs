//! What a release is made of: steps with times of their own, checks with tries, servers in turn.

use quarterdeck::io::settings::TaskTarget;

use super::*;

#[test]
fn a_step_of_a_canary_may_have_times_of_its_own() {
    let service = "[[service]]\nname = \"web\"\n[service.router]\nhttp = { url = \"http://x/\" }\n";
    let canary = |steps: &str| {
        format!(
            "{HEAD}{service}[service.canary]\nsteps = {steps}\npass = \"time\"\nsoak = \"2m\"\n\
             wait = \"10m\"\n"
        )
    };
    let text = canary("[{ percent = 5, soak = \"15m\" }, 10, { percent = 100, wait = \"1m\" }]");
    let found = loaded(&text).engine.services[0].canary.clone().expect("a canary");
    let percents: Vec<u8> = found.steps.iter().map(|step| step.get()).collect();
    assert_eq!(percents, [5, 10, 100]);
    let minutes = |place| {
        let times = found.times(place);
        [times.soak.as_secs() / 60, times.wait.as_secs() / 60]
    };
    assert_eq!([0, 1, 2].map(minutes), [[15, 15], [2, 10], [1, 1]]);
    let check = |steps: &str, problem: &str| {
        let found = lines(&canary(steps));
        assert!(found.len() == 1 && found[0].contains(problem), "{steps}: {found:?}");
    };
    check("[{ soak = \"1m\" }, 100]", "needs `percent`");
    check("[{ percent = 5, soaks = \"1m\" }, 100]", "unknown key `soaks`");
    check("[{ percent = 5, soak = \"9m\", wait = \"5m\" }, 100]", "`wait` is shorter");
    check("[10, { percent = 5 }, 100]", "`steps` rise");
}

#[test]
fn a_check_of_a_plan_may_have_tries() {
    let plan = |check: &str| {
        format!("{HEAD}[plan.p]\nsteps = [{{ check = {{ {check} }}, timeout = \"5s\" }}]\n")
    };
    let io = loaded(&plan("file = \"x\", retries = 5, pause = \"2s\"")).io;
    let TaskTarget::Again { target, retries, pause } = &io.tasks[0] else { panic!("{io:?}") };
    assert!(matches!(**target, TaskTarget::File { .. }), "{target:?}");
    assert_eq!((*retries, *pause), (5, Duration::from_secs(2)));
    let io = loaded(&plan("file = \"x\"")).io;
    assert!(matches!(io.tasks[0], TaskTarget::File { .. }), "{io:?}");
    let found = lines(&plan("file = \"x\", retries = 101"));
    assert!(found[0].contains("`retries`"), "{found:?}");
}

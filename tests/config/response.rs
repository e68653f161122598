//! What is checked before a release, incidents of our own, and ways to reach people.

use super::*;

#[test]
fn the_later_parts_are_checked_for_shape() {
    check(
        "[[incident]]\nname = \"i\"\nseverity = \"urgent\"\n\
         when = \"host.cpu > 1.0\"\n\
         actions = [\"nope\"]\nnotify = [\"slak\"]\n\
         [notify.slack]\nslack = { url = { env = \"X\" } }\n",
        &[
            "5:12: `severity` is one of",
            "7:11: there is no [plan.nope]",
            "8:10: there is no [notify.slak]; did you mean `slack`?",
        ],
    );
}

#[test]
fn an_incident_that_could_never_work_is_refused() {
    check(
        "[[incident]]\nname = \"i\"\nseverity = \"high\"\n\
         when = \"host.cpu > 1 && service.down > 0\"\n\
         [[incident]]\nname = \"i\"\nseverity = \"high\"\nwhen = \"host.cpuu > 1\"\n\
         escalate_to = [\"hook\"]\n\
         [[incident]]\nname = \"k\"\nseverity = \"low\"\nwhen = \"host.cpu > 1\"\n\
         actions = [\"p\"]\narmed = true\n\
         [notify.hook]\nwebhook = { url = \"http://x/\", template = \"{nam}\" }\n\
         [plan.p]\nsteps = [{ note = \"x\" }]\n",
        &[
            "6:8: `when` names hosts, services or counters and feeds",
            "8:8: there is already an incident named `i`",
            "10:8: `when` is no rule: `host.cpuu` is not known; did you mean `host.cpu`?",
            "11:15: `escalate_to` needs `escalate_after`",
            "16:11: `actions`: the plan `p` needs `service`",
            "19:43: `template` has an unknown placeholder `{nam}`",
        ],
    );
}

#[test]
fn an_incident_about_nothing_that_is_there_is_refused() {
    check_service(
        "[[incident]]\nname = \"i\"\nseverity = \"high\"\nwhen = \"service.down > 0\"\n\
         only = [\"web\", \"wib\"]\nalerts = { team = 3 }\n\
         [[incident]]\nname = \"k\"\nseverity = \"high\"\nwhen = \"feed.open > 5\"\n\
         only = [\"web\"]\n",
        &[
            "9:8: `only`: nothing of its kind is named `wib`; did you mean `web`?",
            "10:19: `alerts` is a string, not an integer",
            "15:8: `only` names hosts or services: `when` is about neither",
        ],
    );
}

#[test]
fn a_check_that_could_never_pass_is_refused() {
    check_service(
        "[[service.check]]\nname = \"a\"\nprobe = \"api\"\nexpect = \"true\"\n\
         [[service.check]]\nname = \"a\"\nruntime = [\"node\"]\nversion = \"18\"\n\
         [[service.check]]\nname = \"b\"\nfile = \"x.ini\"\nformat = \"ini\"\n\
         [[service.check]]\nname = \"c\"\ndisk = \"/\"\n\
         [[service.check]]\nname = \"d\"\ncertificate = \"http://x/\"\n",
        &[
            "7:9: `web` has no probe named `api`",
            "8:10: `expect` belongs to `http`",
            "10:8: there is already a check of this service named `a`",
            "12:11: `version` is a list of bounds",
            "16:10: `format` is one of `json`, `toml` or `yaml`",
            "19:8: `disk` needs `free_percent` or `free_gib`",
            "22:15: `certificate` is an address that begins with https://",
        ],
    );
}

#[test]
fn counters_and_phases_that_mean_nothing_are_refused() {
    check_service(
        "[[service.check]]\nname = \"a\"\ntcp = \"127.0.0.1:1\"\n\
         [[service.phase]]\nname = \"p\"\nfor = \"1m\"\nevery = \"1s\"\nchecks = [\"b\", \"a\"]\n\
         [[service.phase]]\nname = \"p\"\nfor = \"1m\"\nevery = \"10s\"\n\
         [[feed]]\nname = \"x\"\ncounters = { a-b = \"up\" }\n\
         [[incident]]\nname = \"i\"\nseverity = \"high\"\n\
         when = \"counter.a > 1 && service.down > 0\"\n",
        &[
            "8:1: `phase` needs a router",
            "11:9: `every`: more than 20 looks in one phase",
            "12:10: `web` has no [[service.check]] named `b`",
            "14:8: there is already a phase of this service named `p`",
            "16:9: `every` needs `checks`",
            "17:1: `feed` needs `metrics`",
            "19:12: `counters` names no query",
            "19:14: the name of a counter has letters, digits and `_`",
            "23:8: `when` is no rule: `counter.a` is not known",
        ],
    );
}

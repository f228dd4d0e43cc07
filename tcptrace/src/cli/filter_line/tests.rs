//! What is typed, and what it means.

use proptest::prelude::*;

use super::*;

fn values(flag: &str) -> Vec<(String, String)> {
    let words: &[&str] = match flag {
        "--state" => &["close", "close-wait", "closing", "fin-wait1", "fin-wait2"],
        "--netns" => &["self", "blue", "two words"],
        _ => &[],
    };
    words.iter().map(|word| ((*word).to_owned(), format!("about {word}"))).collect()
}

fn error(line: &str) -> (&str, String) {
    let error = FilterLine::read(line).expect_err(line);
    (&line[error.at], error.message)
}

fn completed(line: &str) -> Vec<String> {
    completions(line, &values).into_iter().map(|(word, _)| word).collect()
}

#[test]
fn words_without_flags_stand_for_some() {
    for (short, long) in [
        ("", "  "),
        ("443", "--port 443"),
        ("443 8000-8080", "--port=443,8000-8080"),
        (":443 nginx", "--port 443 --comm nginx"),
        ("\":443\"", "--port 443"),
        ("close-wait fin_wait1", "--state CLOSE_WAIT,FIN-WAIT-1"),
        ("192.0.2.1 2001:db8::/32", "--raddr 192.0.2.1,2001:db8::/32"),
        ("nginx 'Web Content'", "--comm 'nginx,Web Content'"),
        ("443 estab ::1 nginx -4", "--comm nginx --raddr ::1 --state established --port 443 --ipv4"),
        ("-L80 -D=443 -p 1", "--lport 80 --rport 443 --pid 1"),
        ("-4L 80", "-4 --lport 80"),
    ] {
        let read = |line| FilterLine::read(line).expect("is right");
        let (short, long) = (read(short), read(long));
        assert_eq!(short.filter, long.filter);
    }
}

#[test]
fn places_are_left_to_the_host() {
    let read = FilterLine::read("-N self,blue --netns 'two words' --cgroup /a").expect("is right");
    assert_eq!(read.places.netns, ["self", "blue", "two words"]);
    assert_eq!(read.place_of("--netns", "blue"), 8..12);
    assert_eq!(read.place_of("--netns", "two words"), 21..32);
    assert_eq!(read.place_of("--cgroup", "/a"), 42..44);
}

#[test]
fn errors_point_at_the_word() {
    for (line, at, part) in [
        ("--port 80 --prt 443", "--prt", "unexpected argument '--prt' found; did you mean `--port`?"),
        ("--port 80,x,443 -4", "x", "--port: `x` is no port"),
        ("-4 --state=open", "open", "--state: `open` is no TCP state"),
        ("99999", "99999", "--port: `99999` is no port"),
        ("443 99999 nginx", "99999", "--port: `99999` is no port"),
        ("nginx :99999", "99999", "--port: `99999` is no port"),
        ("10.0.0.0/99", "10.0.0.0/99", "--raddr: `10.0.0.0/99` is no address"),
        ("--port 80 -4 -6", "-6", "cannot be used with"),
        ("--port 80 --port 443", "--port 443", "cannot be used multiple times"),
        ("--port --pid 1", "--port", "--port: a value is needed"),
        ("-Lx", "x", "--lport: `x` is no port"),
        ("--comm 'a name that is too long'", "'a name that is too long'", "is no process name"),
        ("-x", "-x", "unexpected argument '-x' found"),
        ("--help", "--help", "unexpected argument '--help' found"),
        ("--port=80 --", "--", "unexpected argument '--' found"),
        ("--comm 'ab", "'ab", "does not end"),
    ] {
        let (place, message) = error(line);
        assert_eq!(place, at, "{line}: {message}");
        assert!(message.contains(part), "{line}: {message}");
    }
}

#[test]
fn who_is_still_typing_is_not_told_off() {
    let is_wrong = |line: &str| wrong_for_good(line, &values).is_some();
    for line in [
        "-",
        "--",
        "--po",
        "--port",
        "--port ",
        "--port=",
        "--port 80,",
        "--port 8000-",
        "--port 8000-8",
        "--state clo",
        "--state close-wait,fi",
        "--raddr 10",
        "--raddr 10.",
        "--raddr 10.0.0",
        "--raddr 10.0.0.0/",
        "--raddr 2001:db8",
        "--raddr 2001:db8:",
        "10.0",
        "--comm 'Web C",
        "443 --pid ",
        "--netns nob",
    ] {
        assert!(!is_wrong(line), "{line}");
    }
    for line in [
        "--x",
        "--port x",
        "--port 80,x",
        "--port 99999",
        "--po ",
        "--port x,8",
        "--state clox",
        "--raddr 10.0.0.x",
        "--raddr 10.0.0.0/99",
        "-4 -6",
        "-9",
        "--port --pid 1",
        "--port 1 --port 2",
        "-- 1",
    ] {
        assert!(is_wrong(line), "{line}");
    }
}

#[test]
fn what_can_stand_at_the_end() {
    assert_eq!(completed("--p"), ["--pid", "--port"]);
    assert_eq!(completed("--pid 1 --p"), ["--port"]);
    assert_eq!(completed("po"), ["--port"]);
    assert_eq!(completed("--state "), ["close", "close-wait", "closing", "fin-wait1", "fin-wait2"]);
    assert_eq!(completed("--state CLOSE_W"), ["close-wait"]);
    assert_eq!(completed("--state=fin"), ["--state=fin-wait1", "--state=fin-wait2"]);
    assert_eq!(completed("-4 --state close-wait,clo"), ["close-wait,close", "close-wait,closing"]);
    assert_eq!(completed("closi"), ["closing"]);
    assert_eq!(completed("-N t"), ["'two words'"]);
    assert_eq!(completed("--netns 't"), ["'two words'"]);
    assert!(completed("--port ").is_empty());
    assert!(completed("--port x").is_empty());
    let all = completed("");
    assert!(all.len() > 10 && all.iter().all(|flag| flag.starts_with("--")), "{all:?}");
    assert_eq!(completed("nginx "), all.into_iter().filter(|flag| flag != "--comm").collect::<Vec<_>>());
    assert_eq!(
        completions("--cg", &values)[0].1,
        "Only connections owned by processes in this cgroup (v2) or below it"
    );
    assert_eq!((last_word("-4 --por"), last_word("-4 "), last_word("-N 'a b")), (3, 3, 3));
}

/// Text that is often nearly right.
fn line() -> impl Strategy<Value = String> {
    let words = [
        "--port",
        "-p",
        "--state",
        "80",
        ",",
        "=",
        " ",
        "'",
        "\"",
        "\\",
        "-",
        "--",
        "-4",
        "close-wait",
        "10.0.0.0/8",
        "::",
        "--netns",
        "self",
        "é",
        "\u{202e}",
        "1-",
        "nginx",
        "\n",
        "--cgroup",
        "-N",
        "x",
    ];
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(words.to_vec()), 0..12).prop_map(|words| words.concat()),
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn any_text_is_right_or_wrong_somewhere(line in line()) {
        for error in [FilterLine::read(&line).err(), wrong_for_good(&line, &values)].into_iter().flatten() {
            prop_assert!(line.get(error.at.clone()).is_some(), "{line:?}: {error:?}");
            prop_assert!(!error.message.is_empty());
        }
        let start = last_word(&line);
        prop_assert!(line.is_char_boundary(start));
        for (word, _) in completions(&line, &values) {
            // What it becomes is still one word.
            let whole = format!("{}{word}", &line[..start]);
            prop_assert_eq!(last_word(&whole), start, "{:?} in {:?}", word, whole);
        }
    }
}

#[test]
fn words_that_are_taken_for_names_are_known() {
    let names = |line: &str| -> Vec<String> {
        FilterLine::read(line).expect("right").bare_names().map(str::to_owned).collect()
    };
    assert_eq!(names("443 close-wiat --state estab nginx"), ["close-wiat", "nginx"]);
    assert!(names("443 close-wait --comm nginx ::1").is_empty());
}

//! Keys that custodians bring in components, and PINs that somebody knows.

use super::BUNDLE;
use super::people::{OFFICER_PIN, People, key};
use keyward::hsm::backup::check_value;
use std::fs;

/// What the program may wait for here.
const ENDS: [&str; 6] =
    ["later: ", "check value: ", "PIN for 'primary': ", "PIN for 'second': ", "once more: ", "a-f:\n    "];
const PIN: &str = "4711-user-pin";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn components_and_pins_that_people_know_are_typed_unseen() {
    let imported = key("payments", "aes-gcm", "\"encrypt\", \"decrypt\"", "")
        .replace("\"generated\"", "\"imported-components\"\ncomponents = [\"carol\", \"dave\"]")
        + "never_extractable = false\nbackup = { method = \"imported-components\", token = \"second\" }\n";
    let people = People::new(&imported, 2);
    let plan = fs::read_to_string(people.path("plan.toml")).unwrap();
    let shared = "{ threshold = 2, custodians = [\"carol\", \"dave\", \"erin\"] }";
    fs::write(people.path("plan.toml"), plan.replace(shared, "{ typed_by = \"oscar\" }")).unwrap();
    let [carols, daves] = [[0x5a_u8; 32], [0x3c; 32]];
    let whole: [u8; 32] = std::array::from_fn(|at| carols[at] ^ daves[at]);

    let mut screen = people.start(&["run", "plan.toml"]);
    let mut said = String::new();
    let mut mistyped = false;
    while !(said.ends_with("go on later: ") && said.lines().last().is_some_and(|line| line.starts_with("walter, "))) {
        let now = screen.until(&ENDS);
        said += &now;
        let last = now.trim_end().lines().last().unwrap().to_owned();
        // Where it has to be a paper of somebody's.
        let paper = if now.contains("value of component 1 ") {
            carols
        } else if now.contains("value of component 2 ") {
            daves
        } else {
            whole
        };
        screen.line(&match last.as_str() {
            "carol: component 1 of 'payments', 64 digits of 0-9 and a-f:" if !mistyped => {
                mistyped = true;
                "5a5a".into()
            }
            "carol: component 1 of 'payments', 64 digits of 0-9 and a-f:" => hex(&carols),
            "dave: component 2 of 'payments', 64 digits of 0-9 and a-f:" => hex(&daves),
            "check value:" => hex(&check_value(&paper)).to_uppercase(),
            line if line.ends_with("later:") => line.split_once(',').unwrap().0.to_owned(),
            line if line.contains("user PIN") => PIN.into(),
            _ => OFFICER_PIN.into(),
        });
    }
    let (status, last) = screen.end();
    assert_eq!(status.code(), Some(0), "{last}");
    assert!(said.contains("Not taken: a component is 64 hexadecimal digits"), "{said}");
    assert!(said.contains(&format!("    {}\n", "*".repeat(64))), "{said}");
    let all = people.all_files(BUNDLE) + &screen.log();
    for secret in [&hex(&carols), &hex(&daves), &hex(&whole), PIN, OFFICER_PIN] {
        assert!(!all.contains(secret) && !all.contains(&secret.to_uppercase()), "{secret}");
    }
}

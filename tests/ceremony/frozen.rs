//! Bundles that earlier versions made and a witness signed. Every version verifies them, so none of them is ever changed,
//! and what they need of the program stays.

use keyward::ceremony::{Bundle, Plan, Verdict, Verify, report};
use std::path::{Path, PathBuf};

/// The directory of each, the hash of its plan, and that of its report.
const FROZEN: [[&str; 3]; 2] = [
    [
        "format-1",
        "c7cc4e33695b13e400c34fe1626d64adbff32624ad8f72cc0602075abe63e5f2",
        "ddfa56dbeda61ed4483faff41f6d06d2e654d3d255bd468708968f5915b6cfa6",
    ],
    [
        "format-2",
        "0940e02f8c425bcfb165bb8219981fd282a2824bf34bf1d6479f9e99830658c0",
        "b7432318570ecf63ddfab1fde8b91718714c15b00f4f35ab36b517b444f017fd",
    ],
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ceremony/frozen").join(name)
}

#[test]
fn frozen_bundles_verify() {
    for [name, plan, _] in FROZEN {
        let bundle = Bundle::open(&path(name)).unwrap();
        let found = Verify::new(&bundle).run().unwrap();
        assert_eq!(found.findings, [], "{name}");
        assert_eq!(found.plan.unwrap().to_string(), plan, "{name}");
        assert_eq!((found.verdict(), found.signed_by.len(), found.keys.len()), (Verdict::Verified, 1, 6), "{name}");
        assert!(found.keys.iter().all(|key| key.serial.is_some()), "{name}");
        assert_eq!(Verify::new(&bundle).before_signing().run().unwrap().verdict(), Verdict::Verified, "{name}");
    }
}

/// Another wording is another format.
#[test]
fn reports_of_frozen_bundles_are_worded_as_they_were() {
    for [name, _, hash] in FROZEN {
        let bundle = Bundle::open(&path(name)).unwrap();
        let made = report(&bundle.plan().unwrap(), &bundle.transcript().unwrap());
        assert_eq!(made.as_bytes(), bundle.report_bytes().unwrap(), "{name}");
        assert_eq!(Plan::hash(&made).to_string(), hash, "{name}");
    }
}

/// All formats that the program knows have one.
#[test]
fn every_format_has_a_frozen_bundle() {
    let formats = FROZEN.map(|[name, ..]| Bundle::open(&path(name)).unwrap().plan().unwrap().format);
    assert_eq!(formats, [1, 2]);
    let next = "format = 3\nid = \"x\"\n";
    assert!(Plan::parse(next).unwrap_err().to_string().ends_with("the format of a plan is 2"));
}

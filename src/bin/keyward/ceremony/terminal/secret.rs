//! What is typed and not shown.

use super::Terminal;
use keyward::Result;
use keyward::ceremony::Wanted;
use zeroize::Zeroizing;

/// What is asked for.
struct Asked {
    prompt: String,
    /// Whether it is new and so typed twice.
    twice: bool,
    /// Whether a star is shown for each sign. Everybody knows how long a share is; how long a PIN is, nobody needs to.
    stars: bool,
}

impl Terminal {
    pub(super) fn ask_secret(&self, wanted: &Wanted<'_>) -> Result<Option<Zeroizing<String>>> {
        let asked = self.asked(wanted);
        let again = format!("{}, once more", asked.prompt);
        loop {
            let Some(typed) = self.type_one(&asked.prompt, asked.stars)? else { return Ok(None) };
            if !asked.twice {
                return Ok(Some(typed));
            }
            let Some(second) = self.type_one(&again, asked.stars)? else { return Ok(None) };
            if *typed == *second {
                return Ok(Some(typed));
            }
            self.write(2, "The two are not the same. From the start:")?;
        }
    }

    fn asked(&self, wanted: &Wanted<'_>) -> Asked {
        let once = |prompt: String, stars| Asked { prompt, twice: false, stars };
        let twice = |prompt: String| Asked { prompt, twice: true, stars: false };
        match wanted {
            Wanted::NewOfficerPin { token, by } => twice(format!("{by}: a new security officer's PIN for '{token}'")),
            Wanted::OfficerPin { token, by } => once(format!("{by}: the security officer's PIN of '{token}'"), false),
            Wanted::NewUserPin { token, by } => twice(format!("{by}: a new user PIN for '{token}'")),
            Wanted::UserPin { token, by } => once(format!("{by}: the user PIN of '{token}'"), false),
            Wanted::ShareBack { token, by } => {
                once(format!("{by}: type your share of '{token}' back (nothing to see it once more)"), true)
            }
            Wanted::Share { token, place, threshold } => {
                once(format!("share {place} of the {threshold} that open '{token}' ({})", self.keepers(token)), true)
            }
            Wanted::Component { key, by, index } => {
                once(format!("{by}: component {index} of '{key}', 64 digits of 0-9 and a-f"), true)
            }
            _ => once("what is asked for".into(), false),
        }
    }

    /// None where nothing is typed.
    fn type_one(&self, prompt: &str, stars: bool) -> Result<Option<Zeroizing<String>>> {
        // What is long begins on a line of its own, so that the stars can be counted.
        let end = if stars { "\n    " } else { " " };
        let typed = self.tty.ask_hidden(&format!("{prompt}:{end}"), stars)?;
        Ok(typed.filter(|typed| !typed.trim().is_empty()))
    }
}

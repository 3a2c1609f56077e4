//! What a token says of its bearer, read strictly: a claim of another form than expected makes the token invalid, and
//! is never taken for an absent one.

use serde::{Deserialize, Deserializer, de};

/// How far the issuer's clock and this one may be apart, in seconds.
pub(super) const LEEWAY_S: u64 = 30;

/// The longest `sub`, in bytes.
const SUBJECT_BYTES_MAX: usize = 512;

/// The claims that matter here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: Box<str>,
    aud: Audience,
    #[serde(deserialize_with = "subject")]
    pub(super) sub: Box<str>,
    #[serde(deserialize_with = "seconds")]
    exp: u64,
    #[serde(default, deserialize_with = "seconds")]
    nbf: u64,
    /// Rights, separated by spaces (RFC 8693, RFC 9068).
    #[serde(default)]
    pub(super) scope: String,
    /// Accounts that are the bearer's: numbers, or text, as ProtoJSON writes an int64.
    #[serde(default)]
    accounts: Vec<Account>,
}

/// When a token is valid, in seconds since 1970, the leeway included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Validity {
    from: u64,
    before: u64,
}

/// Where a moment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Early,
    Within,
    Late,
}

impl Validity {
    pub(crate) fn at(self, now_s: u64) -> Moment {
        if now_s < self.from {
            Moment::Early
        } else if now_s < self.before {
            Moment::Within
        } else {
            Moment::Late
        }
    }
}

impl Claims {
    pub(super) fn validity(&self) -> Validity {
        let (from, before) = (self.nbf.saturating_sub(LEEWAY_S), self.exp.saturating_add(LEEWAY_S));
        Validity { from, before }
    }

    pub(super) fn is_for(&self, audience: &str) -> bool {
        match &self.aud {
            Audience::One(only) => &**only == audience,
            Audience::Many(all) => all.iter().any(|one| &**one == audience),
        }
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = i64> {
        self.accounts.iter().map(|Account(id)| *id)
    }
}

/// `aud` is one text or several (RFC 7519, 4.1.3).
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(Box<str>),
    Many(Vec<Box<str>>),
}

#[derive(Debug)]
struct Account(i64);

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }

        let id = match Either::deserialize(deserializer)? {
            Either::Number(id) => Some(id),
            Either::Text(id) => id.parse().ok(),
        };
        id.filter(|id| *id > 0).map(Self).ok_or_else(|| de::Error::custom("is no account"))
    }
}

fn subject<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    let subject = Box::<str>::deserialize(deserializer)?;
    let is_good =
        (1..=SUBJECT_BYTES_MAX).contains(&subject.len()) && !subject.chars().any(char::is_control);
    if is_good { Ok(subject) } else { Err(de::Error::custom("is no subject")) }
}

/// A NumericDate (RFC 7519, 2), which may have a fraction.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Whole(u64),
        Fraction(f64),
    }

    match Either::deserialize(deserializer)? {
        Either::Whole(seconds) => Ok(seconds),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates, and what is no number was refused"
        )]
        Either::Fraction(seconds) if seconds >= 0.0 => Ok(seconds as u64),
        Either::Fraction(_) => Err(de::Error::custom("is no time")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(changed: &[(&str, Value)]) -> Result<Claims, serde_json::Error> {
        let mut claims = json!({
            "iss": "i", "aud": "a", "sub": "a", "exp": 1_000, "nbf": 500, "accounts": [7, "8"],
        });
        for (name, value) in changed {
            claims[*name] = value.clone();
        }
        serde_json::from_value(claims)
    }

    #[test]
    fn a_token_is_valid_between_its_times_and_thirty_seconds_around_them() {
        let validity = read(&[]).unwrap().validity();
        let moments = [469, 470, 1_029, 1_030].map(|now| validity.at(now));
        assert_eq!(moments, [Moment::Early, Moment::Within, Moment::Within, Moment::Late]);
    }

    #[test]
    fn times_at_the_ends_of_the_world_are_no_overflow() {
        let validity = read(&[("exp", json!(u64::MAX)), ("nbf", json!(0))]).unwrap().validity();
        assert_eq!(validity.at(0), Moment::Within);
        assert_eq!(validity.at(u64::MAX - 1), Moment::Within);
    }

    #[test]
    fn claims_of_another_form_are_refused_rather_than_left_out() {
        assert_eq!(read(&[]).unwrap().accounts().collect::<Vec<_>>(), [7, 8]);
        for (name, wrong) in [
            ("iss", json!(["i"])),
            ("aud", json!(7)),
            ("aud", json!({})),
            ("sub", json!("")),
            ("sub", json!(7)),
            ("sub", json!("a\nb")),
            ("exp", json!("1000")),
            ("exp", json!(-1)),
            ("nbf", json!(null)),
            ("nbf", json!("soon")),
            ("scope", json!(["orders:own"])),
            ("accounts", json!(7)),
            ("accounts", json!([0])),
            ("accounts", json!([-7])),
            ("accounts", json!(["x"])),
            ("accounts", json!([7.5])),
        ] {
            assert!(read(&[(name, wrong.clone())]).is_err(), "{name}: {wrong}");
        }
    }
}

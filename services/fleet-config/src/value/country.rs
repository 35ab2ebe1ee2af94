//! Countries.

use std::fmt;

use super::Refusal;

/// The officially assigned codes of ISO 3166-1 alpha-2, one after the other.
const CODES: &str = "ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCN\
                     COCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHM\
                     HNHRHTHUIDIEILIMINIOIQIRISITJEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMK\
                     MLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURW\
                     SASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVI\
                     VNVUWFWSYEYTZAZMZW";

/// A country by its code of ISO 3166-1 alpha-2, which is also what the kernel names regulatory domains by. `00`, its
/// world domain, is no country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(&'static str);

impl Country {
    /// Two letters in upper case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl TryFrom<&str> for Country {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        (0..CODES.len() / 2)
            .filter_map(|index| CODES.get(2 * index..2 * index + 2))
            .find(|code| code.eq_ignore_ascii_case(text))
            .map(Self)
            .ok_or_else(|| {
                Refusal::of(
                    text,
                    "a country's code of two letters was expected (ISO 3166-1), such as DE",
                )
            })
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigned_codes_in_any_case() {
        for (text, code) in [
            ("DE", "DE"),
            ("us", "US"),
            ("gB", "GB"),
            ("AD", "AD"),
            ("ZW", "ZW"),
        ] {
            assert_eq!(Country::try_from(text).map(Country::as_str), Ok(code), "{text}");
        }
        for bad in [
            "", "00", "XX", "EU", "UK", "D", "DEU", "D E", "DE\n", "ÄÖ", "98", "-", "EA",
        ] {
            assert!(Country::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_list_is_whole_and_in_order() {
        let codes: Vec<&str> = (0..CODES.len() / 2)
            .map(|index| &CODES[2 * index..2 * index + 2])
            .collect();
        assert_eq!(codes.len(), 249);
        assert!(codes.is_sorted_by(|one, next| one < next));
        assert!(CODES.bytes().all(|byte| byte.is_ascii_uppercase()));
    }
}

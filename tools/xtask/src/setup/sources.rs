//! apt's own sources, in both forms of sources.list(5): where this machine gets Debian from.
//!
//! No mirror is named in this repository; whatever needs one takes it from here.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// One enabled source of binary packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// `URIs`, at least one.
    pub uris: Vec<String>,
    /// `Suites`: `bookworm`, `bookworm-security`, …
    pub suites: Vec<String>,
    /// `Components`: `main`, …
    pub components: Vec<String>,
    /// Other fields in the deb822 spelling (`Signed-By`, `Trusted`, …), in the order found.
    pub options: Vec<(String, String)>,
}

impl Source {
    /// This source as a deb822 paragraph.
    pub fn to_deb822(&self) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: {}\n",
            self.uris.join(" "),
            self.suites.join(" "),
            self.components.join(" ")
        );
        for (key, value) in &self.options {
            // A value of several lines (an embedded key) is kept as it was, its lines begin with a blank.
            text.push_str(&format!("{key}: {value}\n"));
        }
        text
    }
}

/// All enabled sources of binary packages of this machine, main file first.
pub fn read() -> anyhow::Result<Vec<Source>> {
    read_from(Path::new("/etc/apt"))
}

fn read_from(directory: &Path) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    if let Ok(text) = fs::read_to_string(directory.join("sources.list")) {
        sources.extend(one_line_sources(&text));
    }
    let parts = directory.join("sources.list.d");
    let mut paths: Vec<_> = match fs::read_dir(&parts) {
        Ok(entries) => entries.filter_map(Result::ok).map(|entry| entry.path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("list" | "sources")) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        match extension {
            Some("list") => sources.extend(one_line_sources(&text)),
            _ => sources.extend(deb822_sources(&text)),
        }
    }
    Ok(sources)
}

/// `deb [option=value …] uri suite component…`, one a line.
fn one_line_sources(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line_source).collect()
}

fn one_line_source(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with(char::is_whitespace) {
        return None;
    }
    rest = rest.trim_start();
    let mut options = Vec::new();
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (inside, after) = bracketed.split_once(']')?;
        options = inside
            .split_whitespace()
            .filter_map(|option| option.split_once('='))
            .filter_map(|(key, value)| Some((deb822_key(key)?.to_owned(), value.replace(',', " "))))
            .collect();
        rest = after;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    let (uri, suite) = (words.next()?, words.next()?);
    Some(Source {
        uris: vec![uri],
        suites: vec![suite],
        components: words.collect(),
        options,
    })
}

/// The options that decide whether a source is believed; others (architectures, languages) do not carry over.
fn deb822_key(option: &str) -> Option<&'static str> {
    match option {
        "signed-by" => Some("Signed-By"),
        "trusted" => Some("Trusted"),
        "check-valid-until" => Some("Check-Valid-Until"),
        "check-date" => Some("Check-Date"),
        _ => None,
    }
}

/// Paragraphs of `Key: value`, continued by lines that begin with a blank.
fn deb822_sources(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut paragraph: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.trim().is_empty() {
            sources.extend(deb822_source(&paragraph));
            paragraph.clear();
        } else if line.starts_with('#') {
        } else if line.starts_with(char::is_whitespace) {
            if let Some((_, value)) = paragraph.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((key, value)) = line.split_once(':') {
            paragraph.push((key.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn deb822_source(paragraph: &[(String, String)]) -> Option<Source> {
    let field = |name: &str| {
        paragraph
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .unwrap_or_default()
    };
    let words = |name: &str| -> Vec<String> { field(name).split_whitespace().map(str::to_owned).collect() };
    let enabled = !matches!(
        field("enabled").to_ascii_lowercase().as_str(),
        "no" | "false" | "without" | "off"
    );
    if !enabled || !words("types").iter().any(|word| word == "deb") || words("uris").is_empty() {
        return None;
    }
    let options = paragraph
        .iter()
        .filter_map(|(key, value)| Some((deb822_key(key)?.to_owned(), value.clone())))
        .collect();
    Some(Source {
        uris: words("uris"),
        suites: words("suites"),
        components: words("components"),
        options,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suites: &[&str], options: &[(&str, &str)]) -> Source {
        Source {
            uris: vec![uri.into()],
            suites: suites.iter().map(|&suite| suite.into()).collect(),
            components: vec!["main".into()],
            options: options
                .iter()
                .map(|&(key, value)| (key.into(), value.into()))
                .collect(),
        }
    }

    #[test]
    fn one_line_form() {
        let text = "# a comment\n\
            deb http://mirror.example/debian bookworm main # trailing\n\
            deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/security bookworm-security main\n\
            deb-src http://mirror.example/debian bookworm main\n\
            debian is not a type\n\
            deb\n";
        assert_eq!(
            one_line_sources(text),
            [
                source("http://mirror.example/debian", &["bookworm"], &[]),
                source(
                    "http://mirror.example/security",
                    &["bookworm-security"],
                    &[("Signed-By", "/k.gpg")]
                ),
            ]
        );
    }

    #[test]
    fn deb822_form() {
        let text = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian\n\
            Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
            Types: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\nEnabled: no\n\n\n\
            Types: deb-src\nURIs: http://src.example/debian\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            deb822_sources(text),
            [source(
                "http://mirror.example/debian",
                &["bookworm", "bookworm-updates"],
                &[("Signed-By", "/k.gpg")]
            )]
        );
    }

    #[test]
    fn an_embedded_key_survives_writing() {
        let text = "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm\nComponents: main\n\
            Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n";
        let sources = deb822_sources(text);
        assert_eq!(deb822_sources(&sources[0].to_deb822()), sources);
        assert!(sources[0].to_deb822().contains("\n .\n abc\n"));
    }
}

//! Values that a configuration file writes as text: durations, sizes, addresses, secrets.

use std::{fmt, marker::PhantomData, net::SocketAddr, path::PathBuf, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};

use crate::environment;

/// A duration: `150ms`, `30s`, `15m`, `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Self).map_err(|error| {
            D::Error::custom(format!("`{text}` is not a duration such as `30s` or `150ms`: {error}"))
        })
    }
}

/// A number of bytes: `64KiB`, `20GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number of bytes, as far as memory can hold them.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(|error| D::Error::custom(format!("`{text}` is not a size such as `64KiB`: {error}")))
    }
}

/// Where a listener listens: `127.0.0.1:7254`, or `unix:/run/palisade.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// A port on loopback.
    #[must_use]
    pub const fn loopback(port: u16) -> Self {
        Self::Tcp(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port))
    }

    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(formatter),
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for ListenAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        text.parse().map(Self::Tcp).map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is no address: write `127.0.0.1:7254` or `unix:/run/palisade.sock`"
            ))
        })
    }
}

/// A secret, never a literal: `{file: path}` or `{env: NAME}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Secret {
    /// A file that holds it; white space at its end is not part of it.
    File(PathBuf),
    /// An environment variable that holds it.
    Env(String),
}

impl Secret {
    /// The secret.
    ///
    /// # Errors
    /// When the file cannot be read, or there is no such variable.
    pub(crate) fn read(&self) -> Result<String, String> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| text.trim_end().to_owned())
                .map_err(|error| format!("{}: {error}", path.display())),
            Self::Env(name) => {
                environment::variable(name).ok_or_else(|| format!("the environment has no variable `{name}`"))
            }
        }
    }

    /// The file that holds it.
    pub(crate) fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Env(_) => None,
        }
    }
}

/// A text that may hold a secret: as it is, or `{file: path}` or `{env: NAME}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "write a text, `{file: path}` or `{env: NAME}`")]
pub enum TextOrSecret {
    /// As it is.
    Text(String),
    /// Where it is.
    Secret(Secret),
}

impl TextOrSecret {
    /// The text.
    ///
    /// # Errors
    /// When the file cannot be read, or there is no such variable.
    pub(crate) fn read(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Secret(secret) => secret.read(),
        }
    }

    /// Where it is, if not here.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Text(_) => None,
            Self::Secret(secret) => Some(secret),
        }
    }
}

/// A list of names, or `'*'` for all.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[serde(untagged)]
pub enum OneOrAll<T> {
    /// All of them.
    All(#[schemars(regex(pattern = r"^\*$"))] String),
    /// These.
    These(Vec<T>),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrAll<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw<T> {
            Text(String),
            These(Vec<T>),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Text(star) if star == "*" => Ok(Self::All(star)),
            Raw::Text(text) => Err(D::Error::custom(format!("`{text}` is neither a list nor `'*'`"))),
            Raw::These(these) => Ok(Self::These(these)),
        }
    }
}

/// `on` or `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// Something, or `off`. What is not written is on, with its defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrOff<T> {
    /// This.
    On(T),
    /// Off.
    Off,
}

impl<T> OrOff<T> {
    /// What is on.
    pub fn on(&self) -> Option<T>
    where
        T: Clone,
    {
        match self {
            Self::On(value) => Some(value.clone()),
            Self::Off => None,
        }
    }
}

impl<T: Default> Default for OrOff<T> {
    fn default() -> Self {
        Self::On(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OrOff<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Read<T> {
            type Value = OrOff<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("`off`, or a mapping")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                if text == "off" {
                    return Ok(OrOff::Off);
                }
                Err(E::custom(format!("`{text}` is neither `off` nor a mapping")))
            }

            // What YAML 1.1 makes of it.
            fn visit_bool<E: serde::de::Error>(self, on: bool) -> Result<Self::Value, E> {
                if on { Err(E::custom("write `off`, or a mapping")) } else { Ok(OrOff::Off) }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(OrOff::On)
            }
        }

        deserializer.deserialize_any(Read(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OrOff<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}OrOff", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "const": "off" }] })
    }
}

fn text_schema(pattern: &str, description: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": pattern, "description": description })
}

macro_rules! text_value {
    ($name:ident, $pattern:literal, $description:literal) => {
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                text_schema($pattern, $description)
            }
        }
    };
}

text_value!(Period, r"^[0-9]", "A duration: `150ms`, `30s`, `15m`, `24h`.");
text_value!(ByteSize, r"^[0-9]", "A number of bytes: `64KiB`, `20GiB`.");
text_value!(ListenAddress, r"^(unix:/.+|.+:[0-9]+)$", "`127.0.0.1:7254`, or `unix:/run/palisade.sock`.");

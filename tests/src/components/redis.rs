//! A Redis server with nothing in it, which keeps nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::certificates::Certificates;
use super::process::Process;
use super::{debian, free_port};

/// A running Redis, which asks for a password.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    port: u16,
    encrypted: Option<Encrypted>,
}

/// A second port, on which it speaks TLS with a certificate for `localhost` of an authority that nobody knows.
#[derive(Debug)]
struct Encrypted {
    port: u16,
    files: TempDir,
}

const PASSWORD: &str = "redis-password";

impl Redis {
    /// Why there is no Redis on this machine, if it was left out when the components were installed.
    ///
    /// # Errors
    /// If the components are not installed.
    pub fn skipped() -> Result<Option<String>> {
        debian::skipped()
    }

    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start() -> Result<Self> {
        if let Some(reason) = Self::skipped()? {
            bail!("no Redis: {}", reason.trim());
        }
        let port = free_port()?;
        Ok(Self { process: launch(port, None).await?, port, encrypted: None })
    }

    /// The same, which speaks TLS, too.
    ///
    /// # Errors
    /// If it is not installed or does not start.
    pub async fn start_encrypted() -> Result<Self> {
        let mut redis = Self::start().await?;
        let files = TempDir::new()?;
        let Certificates { authority, certificate, key } = Certificates::new("localhost")?;
        for (name, text) in [("authority.pem", authority), ("certificate.pem", certificate), ("key.pem", key)]
        {
            fs::write(files.path().join(name), text)?;
        }
        redis.encrypted = Some(Encrypted { port: free_port()?, files });
        redis.restart().await?;
        Ok(redis)
    }

    /// The URL of the port with TLS, with the password, and the file of the authority.
    ///
    /// # Errors
    /// If it speaks no TLS.
    pub fn encrypted(&self) -> Result<(String, PathBuf)> {
        let Encrypted { port, files } = self.encrypted.as_ref().context("it speaks no TLS")?;
        Ok((format!("rediss://:{PASSWORD}@localhost:{port}"), files.path().join("authority.pem")))
    }

    /// The URL, with the password.
    pub fn url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// The answer to a command: of a bulk string its bytes, of a list one member after the other.
    ///
    /// # Errors
    /// If it does not answer, or with an error.
    pub async fn ask(&self, command: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?);
        send(&mut stream, &[b"AUTH", PASSWORD.as_bytes()]).await?;
        read(&mut stream).await?;
        send(&mut stream, command).await?;
        read(&mut stream).await
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Ends it as a crash would. What was in it is gone.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port, with nothing in it.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = launch(self.port, self.encrypted.as_ref()).await?;
        Ok(())
    }
}

async fn launch(port: u16, encrypted: Option<&Encrypted>) -> Result<Process> {
    let mut command = debian::program("bin/redis-server")?;
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--requirepass", PASSWORD]);
    command.args(["--save", "", "--appendonly", "no"]);
    if let Some(Encrypted { port, files }) = encrypted {
        command.args(["--tls-port", &port.to_string(), "--tls-auth-clients", "no"]);
        for (option, name) in [
            ("--tls-ca-cert-file", "authority.pem"),
            ("--tls-cert-file", "certificate.pem"),
            ("--tls-key-file", "key.pem"),
        ] {
            command.arg(option).arg(files.path().join(name));
        }
    }
    let mut process = Process::start("redis", command)?;
    process.wait_for_line("Ready to accept connections").await?;
    Ok(process)
}

async fn send(stream: &mut BufReader<TcpStream>, words: &[&[u8]]) -> Result<()> {
    let mut text = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        text.extend(format!("${}\r\n", word.len()).bytes());
        text.extend(*word);
        text.extend(b"\r\n");
    }
    Ok(stream.write_all(&text).await?)
}

/// A reply of the protocol RESP2, as far as it is needed.
async fn read(stream: &mut BufReader<TcpStream>) -> Result<Vec<Vec<u8>>> {
    let first = line(stream).await?;
    let count = match first.strip_prefix('*') {
        Some(count) => count.parse()?,
        None => return Ok(vec![value(stream, first).await?]),
    };
    let mut values = Vec::new();
    for _ in 0..count {
        let first = line(stream).await?;
        values.push(value(stream, first).await?);
    }
    Ok(values)
}

async fn line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    Ok(line.trim_end().to_owned())
}

async fn value(stream: &mut BufReader<TcpStream>, first: String) -> Result<Vec<u8>> {
    ensure!(!first.starts_with('-') && !first.is_empty(), "Redis says `{first}`");
    let Some(length) = first.strip_prefix('$') else { return Ok(first.into_bytes()) };
    let length = usize::try_from(length.parse::<i64>()?).ok().context("there is no such key")?;
    let mut bytes = vec![0; length + 2];
    stream.read_exact(&mut bytes).await?;
    bytes.truncate(length);
    Ok(bytes)
}

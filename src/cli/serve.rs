//! `serve`: key source, listener, five start lines, signals, drain.
//!
//! ```text
//! configuration -> signer (the token is tried once) -> listener -> start lines -> until a signal -> drain -> exit code
//! ```

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::{DONE, Outside, failed, preview};
use crate::clock::{Moment, UnixSeconds};
use crate::config::{AdminAddress, AtStart, Config, KeySource};
use crate::jose::Algorithm;
use crate::keys::lists::ListsError;
use crate::keys::local::{LocalKey, LocalKeyError};
use crate::keys::memory::Memory;
use crate::keys::pkcs11::{Shutdown, StartError, TokenSigner, ffi};
use crate::keys::{AlarmKind, Board, BoardConfig, Signer, saved};
use crate::process::raise_open_files;
use crate::state_dir::{StateDir, StateDirError};
use crate::telemetry;
use crate::web::server::{Drain, Server};
use crate::web::{App, BindError};

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the ephemeral key {0}")]
    Ephemeral(LocalKeyError),
    #[error("MACP_AUTH_STATE_DIR {0}")]
    State(#[from] StateDirError),
    #[error(transparent)]
    Lists(#[from] ListsError),
    #[error("{0}")]
    ExtraConflict(String),
    #[error(transparent)]
    Token(#[from] StartError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the system refused {what}: {cause}")]
    System {
        what: &'static str,
        cause: io::Error,
    },
}

/// How the service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Every request was answered.
    Drained,
    /// Something was still open after the drain time.
    Cut,
}

/// Serves until SIGTERM or SIGINT.
pub fn run(outside: &mut Outside<'_>) -> ExitCode {
    let Some(parsed) = outside.configuration(&AtStart) else {
        return failed();
    };
    let filter = match telemetry::filter(parsed.config.log.as_deref()) {
        Ok(filter) => filter,
        Err(error) => {
            outside.complain(&format_args!(
                "MACP_AUTH_LOG is no log filter: {error}. Write it like info or info,macp_auth_service=debug"
            ));
            return failed();
        }
    };
    telemetry::start(filter, io::stderr().is_terminal());
    for warning in &parsed.warnings {
        tracing::warn!("{warning}");
    }
    if let Err(cause) = raise_open_files() {
        tracing::warn!(%cause, "the limit of open files stays as it is; raise it from outside (ulimit -n)");
    }
    match serve(parsed.config, outside.stdout) {
        Ok(Ended::Drained) => DONE,
        Ok(Ended::Cut) => failed(),
        Err(error) => {
            outside.complain(&format_args!("cannot start: {error}"));
            failed()
        }
    }
}

fn serve(config: Config, out: &mut (dyn Write + Send)) -> Result<Ended, ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|cause| system("threads", cause))?;
    let facts = Facts::of(&config);
    let board_config = preview::board_config(&config, state_directory(&config.source)?);
    let hangup = {
        // Before anything takes long: without a handler a hangup ends the process.
        let _in_runtime = runtime.enter();
        listen_for(SignalKind::hangup())?
    };
    let app = Arc::new(App {
        signer: signer(board_config, config.source, config.sign_timeout)?,
        claims: config.claims,
        sign_timeout: config.sign_timeout,
        jwks_max_age: config.jwks_max_age,
        source: facts.source,
    });
    let reader = Arc::clone(&app);
    runtime.spawn(look_again_at_hangups(hangup, reader));
    let drain = runtime.block_on(async {
        let server = Server::bind(&config.listen).await?;
        let admin = admin_server(config.admin, &server).await?;
        let mut terminate = listen_for(SignalKind::terminate())?;
        let mut interrupt = listen_for(SignalKind::interrupt())?;
        say(out, &facts.start_lines(server.port(), &app));
        let (tell_admin, told) = oneshot::channel::<()>();
        let stop = async {
            let signal = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            drop(tell_admin);
            signal
        };
        let announce = |signal: &str| {
            let line = format!("[auth-service] {signal} received; shutting down\n");
            say(out, &line);
        };
        let aside = run_admin(admin, Arc::clone(&app), told);
        let (public, aside) = tokio::join!(server.run(Arc::clone(&app), stop, announce), aside);
        Ok::<_, ServeError>(public.and(aside))
    })?;
    // Requests that were cut may hold the runtime's threads; they end with the process.
    runtime.shutdown_background();
    let ended = match drain {
        Drain::Finished => Ended::Drained,
        Drain::Cut => Ended::Cut,
    };
    if app.signer.shut_down() == Shutdown::Stuck {
        tracing::warn!(
            "a call into the PKCS#11 module is still under way; leaving without its destructors"
        );
        ffi::exit_now(u8::from(ended == Ended::Cut));
    }
    Ok(ended)
}

/// Binds the admin listener, where there is one, and logs where: the start lines stay as they are.
async fn admin_server(
    admin: Option<AdminAddress>,
    public: &Server,
) -> Result<Option<Server>, BindError> {
    let Some(admin) = admin else {
        return Ok(None);
    };
    let server = Server::bind_admin(admin, public).await?;
    let addresses: Vec<String> = server.addresses().map(|at| at.to_string()).collect();
    tracing::info!("admin listener on {}", addresses.join(" and "));
    Ok(Some(server))
}

/// Serves until the other end of `told` is dropped.
async fn run_admin(admin: Option<Server>, app: Arc<App>, told: oneshot::Receiver<()>) -> Drain {
    let Some(server) = admin else {
        return Drain::Finished;
    };
    let stop = async {
        told.await.ok();
    };
    server.run(app, stop, |()| {}).await
}

fn state_directory(source: &KeySource) -> Result<Option<StateDir>, StateDirError> {
    match source {
        KeySource::Pkcs11(config) => {
            let directory = config.state_dir.as_deref();
            directory.map(StateDir::open).transpose()
        }
        KeySource::Ephemeral(_) | KeySource::Env(_) => Ok(None),
    }
}

async fn look_again_at_hangups(mut hangup: Signal, app: Arc<App>) {
    while hangup.recv().await.is_some() {
        tracing::info!("SIGHUP received; looking at tokens, lists and clock again");
        let app = Arc::clone(&app);
        // A panic in there has been logged.
        tokio::task::spawn_blocking(move || app.signer.look_again())
            .await
            .ok();
    }
}

fn signer(
    config: BoardConfig,
    source: KeySource,
    sign_timeout: Duration,
) -> Result<Signer, ServeError> {
    let now = Moment::now();
    let directory = config.directory.clone();
    let memory = match &directory {
        Some(directory) => saved::take_over(directory, now.wall),
        None => Memory::empty(now.wall),
    };
    let board = Arc::new(Board::open(config, memory, now)?);
    let signer = match source {
        KeySource::Ephemeral(algorithm) => {
            let key = LocalKey::ephemeral(algorithm).map_err(ServeError::Ephemeral)?;
            Signer::local(key, Arc::clone(&board), now)
        }
        KeySource::Env(key) => Signer::local(*key, Arc::clone(&board), now),
        KeySource::Pkcs11(config) => {
            let tokens = TokenSigner::start(*config, Arc::clone(&board), directory, sign_timeout)?;
            Signer::token(tokens, Arc::clone(&board))
        }
    };
    board.tick(Moment::now());
    let mut alarms = board.alarms().into_iter();
    let conflict = alarms.find(|alarm| alarm.kind == AlarmKind::ExtraConflict);
    match conflict {
        Some(alarm) => Err(ServeError::ExtraConflict(alarm.detail)),
        None => signer.map_err(|cause| system("a thread", cause)),
    }
}

/// What the start lines say beside the port.
struct Facts {
    issuer: String,
    audience: String,
    source: &'static str,
    configured: Option<Algorithm>,
}

impl Facts {
    fn of(config: &Config) -> Self {
        let (source, configured) = match &config.source {
            KeySource::Ephemeral(algorithm) => ("ephemeral", Some(*algorithm)),
            KeySource::Env(key) => ("env", Some(key.algorithm())),
            KeySource::Pkcs11(token) => ("pkcs11", token.algorithm),
        };
        Self {
            issuer: config.claims.issuer.clone(),
            audience: config.claims.audience.clone(),
            source,
            configured,
        }
    }

    /// Operators and scripts take these five lines as a fingerprint.
    fn start_lines(&self, port: u16, app: &App) -> String {
        let ring = app.signer.ring();
        let algorithm = ring
            .signing_key(UnixSeconds::now())
            .or_else(|| ring.keys().first())
            .map(|key| key.algorithm())
            .or(self.configured)
            .unwrap_or(Algorithm::Rs256);
        let Self {
            issuer,
            audience,
            source,
            ..
        } = self;
        format!(
            "[auth-service] listening on port {port}\n\
             [auth-service] issuer={issuer} audience={audience}\n\
             [auth-service] key source: {source} alg: {algorithm}\n\
             [auth-service] JWKS: http://localhost:{port}/.well-known/jwks.json\n\
             [auth-service] Mint: POST http://localhost:{port}/tokens\n"
        )
    }
}

/// A closed stdout is no reason to stop serving.
fn say(out: &mut (dyn Write + Send), text: &str) {
    out.write_all(text.as_bytes()).ok();
    out.flush().ok();
}

fn listen_for(kind: SignalKind) -> Result<Signal, ServeError> {
    signal(kind).map_err(|cause| system("signal handlers", cause))
}

const fn system(what: &'static str, cause: io::Error) -> ServeError {
    ServeError::System { what, cause }
}

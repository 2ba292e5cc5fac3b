//! The accept loop, and one task for each connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::settings::Outage;
use crate::state::Workspace;
use crate::sync::Locked;
use crate::wire::{ConnControl, Connection, Transport};

/// How long a TLS handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// Serves the workspace's own socket until the task is dropped.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    workspace: Arc<Workspace>,
) -> io::Result<()> {
    let acceptor = tls.map(TlsAcceptor::from);
    tokio::spawn(Workspace::keep_time(Arc::downgrade(&workspace)));
    workspace.resume();
    loop {
        let tcp = accept(&listener).await?;
        let control = workspace.connected();
        workspace.touched();
        if workspace.settings.locked().outage == Outage::Refuse {
            tcp.set_zero_linger().ok();
            continue;
        }
        let (acceptor, router) = (acceptor.clone(), router.clone());
        tokio::spawn(async move {
            let transport = match acceptor {
                None => Transport::Plain(tcp),
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(tcp)).await {
                        Ok(Ok(tls)) => Transport::Tls(Box::new(tls)),
                        _ => return,
                    }
                }
            };
            converse(Connection::new(transport, control.clone()), control, router).await;
        });
    }
}

/// Serves the admin API's socket: plain HTTP, without faults.
pub async fn serve_admin(listener: TcpListener, router: Router) -> io::Result<()> {
    loop {
        let tcp = accept(&listener).await?;
        let router = router.clone();
        tokio::spawn(async move {
            let control = ConnControl::new(0);
            converse(
                Connection::new(Transport::Plain(tcp), control.clone()),
                control,
                router,
            )
            .await;
        });
    }
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                tcp.set_nodelay(true).ok();
                return Ok(tcp);
            }
            // A connection that was reset before it was accepted, or no descriptor left: not the end.
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                ) => {}
            Err(e) if e.raw_os_error() == Some(24) => {
                tokio::time::sleep(Duration::from_millis(50)).await
            }
            Err(e) => return Err(e),
        }
    }
}

async fn converse(connection: Connection, control: Arc<ConnControl>, router: Router) {
    let service = TowerToHyperService::new(router.layer(Extension(control)));
    // A connection that breaks concerns only its client.
    http1::Builder::new()
        .half_close(false)
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades()
        .await
        .ok();
}

//! What a URL says of where Redis is: one server, a primary that sentinels name, or a cluster.

use redis::io::tcp::TcpSettings;
use redis::{
    ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo,
};

use crate::config::ConnectError;

/// The port of a sentinel that is named without one.
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is.
#[derive(Clone, Debug)]
pub(crate) enum Site {
    /// `redis://`, `rediss://` and `unix:`.
    One(ConnectionInfo),
    /// `redis+sentinel://` and `rediss+sentinel://`.
    Sentinel(SentinelSite),
    /// `redis+cluster://` and `rediss+cluster://`: some of its nodes, at least one.
    Cluster(Vec<ConnectionInfo>),
}

/// Sentinels, and how to speak to the server that they name.
#[derive(Clone, Debug)]
pub(crate) struct SentinelSite {
    pub(crate) sentinels: Vec<ConnectionInfo>,
    /// A user or a password is named for them, in the URL or as a file.
    pub(crate) sentinels_have_users: bool,
    pub(crate) service: String,
    /// Everything but its address.
    pub(crate) primary: ConnectionInfo,
}

impl Site {
    pub(crate) fn parse(url: &str) -> Result<Self, ConnectError> {
        if let Some((scheme, rest)) = url.split_once("+sentinel://") {
            return Parts::of(scheme, rest)?.sentinel();
        }
        if let Some((scheme, rest)) = url.split_once("+cluster://") {
            return Parts::of(scheme, rest)?.cluster();
        }
        info(url).map(Self::One)
    }
}

impl SentinelSite {
    /// Shows the sentinels nothing of the servers' user: they have their own.
    pub(crate) fn have_users(&mut self) {
        if !self.sentinels_have_users {
            self.sentinels_have_users = true;
            for sentinel in &mut self.sentinels {
                let nobody = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP3);
                *sentinel = sentinel.clone().set_redis_settings(nobody);
            }
        }
    }
}

/// The same user, password and TLS at another address.
pub(crate) fn at(like: &ConnectionInfo, host: &str, port: u16) -> ConnectionInfo {
    let host = host.to_owned();
    let address = match like.addr() {
        ConnectionAddr::TcpTls {
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(address)
}

/// A URL with several hosts, which the library does not read. Each part is as it was written, percent signs included.
struct Parts<'a> {
    scheme: &'a str,
    /// With its `@`.
    user: &'a str,
    hosts: Vec<&'a str>,
    path: &'a str,
    query: &'a str,
    /// With its `#`.
    fragment: &'a str,
}

impl<'a> Parts<'a> {
    fn of(scheme: &'a str, rest: &'a str) -> Result<Self, ConnectError> {
        if !matches!(scheme, "redis" | "rediss") {
            return Err(refused("its scheme begins neither with redis nor rediss"));
        }
        let (rest, fragment) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let hosts: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
        if hosts.is_empty() {
            return Err(refused("it names no host"));
        }
        Ok(Self {
            scheme,
            user,
            hosts,
            path: path.trim_end_matches('/'),
            query,
            fragment,
        })
    }

    fn cluster(&self) -> Result<Site, ConnectError> {
        if !self.path.is_empty() {
            return Err(refused(
                "it names a database, and a cluster has only the first",
            ));
        }
        if !self.query.is_empty() {
            return Err(refused("it has parameters, and a cluster takes none"));
        }
        let nodes = self.hosts.iter().map(|host| {
            let url = format!("{}://{}{host}{}", self.scheme, self.user, self.fragment);
            info(&url)
        });
        Ok(Site::Cluster(nodes.collect::<Result<_, _>>()?))
    }

    /// `SERVICE[/DB]`, and the user and password of the sentinels where they have others.
    fn sentinel(&self) -> Result<Site, ConnectError> {
        let (service, db) = self.path.split_once('/').unwrap_or((self.path, ""));
        if service.is_empty() {
            return Err(refused("it names no service behind the sentinels"));
        }
        let (mut name, mut password) = (None, None);
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("sentinel_username", value) => name = Some(value),
                ("sentinel_password", value) => password = Some(value),
                // Not quoted: it may be a part of a password.
                _ => {
                    return Err(refused(
                        "it has an unknown parameter: there are sentinel_username and sentinel_password, and a \
                         `&` inside one is written `%26`",
                    ));
                }
            }
        }
        let own;
        let sentinel_user = match (name, password) {
            (None, None) => self.user,
            (name, password) => {
                own = format!(
                    "{}:{}@",
                    name.unwrap_or_default(),
                    password.unwrap_or_default()
                );
                own.as_str()
            }
        };
        let sentinels = self.hosts.iter().map(|host| {
            // The colons of an IPv6 address stand in brackets.
            let has_port = host.rsplit(']').next().is_some_and(|end| end.contains(':'));
            let port = if has_port {
                String::new()
            } else {
                format!(":{SENTINEL_PORT}")
            };
            info(&format!(
                "{}://{sentinel_user}{host}{port}{}",
                self.scheme, self.fragment
            ))
        });
        Ok(Site::Sentinel(SentinelSite {
            sentinels: sentinels.collect::<Result<_, _>>()?,
            sentinels_have_users: name.is_some() || password.is_some(),
            service: service.to_owned(),
            primary: info(&format!(
                "{}://{}{}/{db}{}",
                self.scheme, self.user, self.hosts[0], self.fragment
            ))?,
        }))
    }
}

fn info(url: &str) -> Result<ConnectionInfo, ConnectError> {
    let info = url
        .into_connection_info()
        .map_err(|error| refused(&error.to_string()))?;
    // RESP3, since only there the library tells that a connection was closed while it was idle.
    let redis = info.redis_settings().clone();
    Ok(info
        .set_redis_settings(redis.set_protocol(ProtocolVersion::RESP3))
        // The library leaves Nagle's algorithm on, which holds a small command back until the last is acknowledged.
        .set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn refused(reason: &str) -> ConnectError {
    ConnectError::Url {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinel(url: &str) -> SentinelSite {
        match Site::parse(url) {
            Ok(Site::Sentinel(site)) => site,
            other => panic!("{url}: {other:?}"),
        }
    }

    fn addresses(infos: &[ConnectionInfo]) -> Vec<String> {
        infos.iter().map(|info| info.addr().to_string()).collect()
    }

    #[test]
    fn sentinels_the_service_and_the_database_are_read_from_the_url() {
        let site = sentinel("redis+sentinel://ada:p%40ss@a:1,b,[::1]:3/shop/2");
        assert_eq!(addresses(&site.sentinels), ["a:1", "b:26379", "::1:3"]);
        assert_eq!(site.service, "shop");
        for info in site.sentinels.iter().chain([&site.primary]) {
            assert_eq!(info.redis_settings().username(), Some("ada"));
            assert_eq!(info.redis_settings().password(), Some("p@ss"));
        }
        assert_eq!(site.primary.redis_settings().db(), 2);
        assert_eq!(site.sentinels[0].redis_settings().db(), 0);
    }

    #[test]
    fn the_nodes_of_a_cluster_are_read_from_the_url() {
        let Ok(Site::Cluster(nodes)) = Site::parse("rediss+cluster://:secret@a:1,b") else {
            panic!("it is a cluster");
        };
        assert_eq!(addresses(&nodes), ["a:1", "b:6379"]);
        for node in nodes {
            assert_eq!(node.redis_settings().password(), Some("secret"));
            assert!(matches!(node.addr(), ConnectionAddr::TcpTls { .. }));
        }
    }

    #[test]
    fn sentinels_may_have_a_password_of_their_own() {
        let site = sentinel("redis+sentinel://:secret@a/shop?sentinel_password=other");
        let password = |info: &ConnectionInfo| info.redis_settings().password().map(str::to_owned);
        assert_eq!(password(&site.sentinels[0]).as_deref(), Some("other"));
        assert_eq!(password(&site.primary).as_deref(), Some("secret"));
    }

    #[test]
    fn sentinels_may_have_no_user_where_the_servers_have_one() {
        let site = sentinel("redis+sentinel://app:secret@a/shop?sentinel_password=");
        let user = site.sentinels[0].redis_settings();
        assert_eq!((user.username(), user.password()), (None, None));
        assert!(site.sentinels_have_users);
    }

    #[test]
    fn an_announced_address_is_spoken_to_as_the_url_says() {
        let site = sentinel("rediss+sentinel://:secret@a/shop#insecure");
        let found = at(&site.primary, "10.0.0.7", 6380);
        assert_eq!(found.redis_settings().password(), Some("secret"));
        assert!(
            matches!(
                found.addr(),
                ConnectionAddr::TcpTls { host, port: 6380, insecure: true, .. } if host == "10.0.0.7"
            ),
            "{:?}",
            found.addr()
        );
    }

    #[test]
    fn a_url_that_lacks_something_is_refused_with_what_it_lacks() {
        for (url, part) in [
            ("redis+sentinel://a,b", "no service"),
            ("redis+sentinel:///shop", "no host"),
            ("http+sentinel://a/shop", "scheme"),
            ("redis+sentinel://a/shop?db=2", "unknown parameter"),
            ("redis+sentinel://a/shop?sentinel_password=a&b", "%26"),
            ("redis+sentinel://a/shop/two", "database"),
            ("redis+cluster://", "no host"),
            ("redis+cluster://a,b/1", "database"),
            ("redis+cluster://a?b=c", "parameters"),
        ] {
            let error = Site::parse(url).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(part), "{url}: {error}");
        }
    }
}

//! What each role needs. A space stands between commands, and between names of keys.

/// What a role needs.
pub(super) struct Grant {
    pub(super) commands: &'static str,
    /// Of each queue.
    pub(super) queue: KeysOf,
    /// Of the schedules.
    pub(super) beat: KeysOf,
    /// Tells outcomes, or listens to them.
    pub(super) channels: bool,
}

/// Names of keys, as docs/protocol.md has them, with `*` for what varies in them.
pub(super) struct KeysOf {
    /// Only read. Of a key that is asked for its type or length alone, this is what such a question needs.
    pub(super) read: &'static str,
    /// Only written.
    pub(super) write: &'static str,
    pub(super) both: &'static str,
}

const NOTHING: KeysOf = KeysOf {
    read: "",
    write: "",
    both: "",
};

pub(super) const PRODUCER: Grant = Grant {
    commands: "del get hdel hexists hget hlen hmget hset hsetnx hstrlen publish rpush sadd set \
            subscribe time type wait zadd zrange zrem zscore",
    queue: KeysOf {
        read: "active:* identities",
        write: "bell callbacks cancels facts ready:*",
        both: "dead ghosts locks meta once:* reasons result:* scheduled tasks unique:* waiting",
    },
    beat: NOTHING,
    channels: true,
};

pub(super) const WORKER: Grant = Grant {
    commands: "bzpopmin del exists get hdel hexists hget hlen hmget hrandfield hscan hset \
            hstrlen lpop lpush lrange ltrim publish rpush set smismember srandmember srem \
            time type unwatch zadd zcard zrange zrangebyscore zrem zscore",
    queue: KeysOf {
        read: "",
        write: "losses result:*",
        both: "active:* bell callbacks cancels dead facts ghosts identities locks meta once:* ready:* reasons \
            reports scheduled suspects tasks unique:* waiting",
    },
    beat: NOTHING,
    channels: true,
};

pub(super) const BEAT: Grant = Grant {
    commands: "bzpopmin del exists get hdel hexists hget hlen hmget hset hstrlen llen \
            lpush lrange lrem ltrim rpush sadd set srandmember srem time type unwatch zadd zrange \
            zrangebylex zrangebyscore zrem zscore",
    queue: KeysOf {
        read: "active:* identities",
        write: "bell facts ready:* reasons",
        both: "dead ghosts locks meta scheduled tasks unique:*",
    },
    beat: KeysOf {
        read: "",
        write: "history:*",
        both: "bell meta names outbox:* outboxes records standby versions wakes",
    },
    channels: false,
};

pub(super) const OPERATOR: Grant = Grant {
    commands: "config|get del exists get hdel hexists hget hkeys hlen hmget hscan hset hstrlen \
            hvals llen lpos lpush lrange lrem ltrim pexpire pttl publish rpush sadd scan set \
            sismember srem sscan time type zadd zcard zcount zrange zrangebylex zrangebyscore zrem \
            zscan zscore",
    queue: KeysOf {
        read: "",
        write: "bell",
        both: "active:* callbacks cancels dead facts ghosts identities locks losses meta once:* ready:* reasons reports \
            result:* scheduled suspects tasks unique:* waiting",
    },
    beat: KeysOf {
        read: "",
        write: "bell outbox:*",
        both: "history:* meta names outboxes records versions wakes",
    },
    channels: true,
};

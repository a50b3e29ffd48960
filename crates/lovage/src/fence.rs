//! Conditional writes to Redis by the fence of a run: what a worker that was given up writes late, is refused.
//!
//! [`TaskContext::fence`](crate::TaskContext::fence) grows from one handing-out of a task to the next. A store that
//! remembers the highest fence it has seen for a thing refuses a write with a lower one. How that is said in SQL, and
//! what it does not do: `docs/fencing.md`.

/// The script of [`redis_set`]: sets `KEYS[1]` to `ARGV[2]` unless a fence above `ARGV[1]` was seen at `KEYS[2]`, and
/// answers 1, or 0 where it refused. Fences are below 2^53, so that Lua compares them exactly.
pub const REDIS_SET: &str = "\
local seen = tonumber(redis.call('GET', KEYS[2])) or 0
if tonumber(ARGV[1]) < seen then return 0 end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
return 1";

/// The arguments of an `EVAL` that sets `key` to `value`, unless a run with a higher fence has set it before.
///
/// It answers 1, or 0 where it was refused: then another run of the task has been started, and this one should end. The
/// fence is kept in a key beside it, in the same Cluster slot: [`redis_fence_key`]. All writers of `key` must write so.
///
/// With the `redis` crate, in a body:
///
/// ```text
/// let set = lovage::fence::redis_set("stock:7", ctx.fence(), "12");
/// let set: bool = redis::cmd("EVAL").arg(set).query_async(&mut redis).await?;
/// anyhow::ensure!(set, "another run has taken over");
/// ```
pub fn redis_set(key: &str, fence: u64, value: impl AsRef<[u8]>) -> Vec<Vec<u8>> {
    vec![
        REDIS_SET.into(),
        b"2".to_vec(),
        key.into(),
        redis_fence_key(key).into(),
        fence.to_string().into(),
        value.as_ref().to_vec(),
    ]
}

/// The key in which [`redis_set`] keeps the highest fence of `key`: in the same Cluster slot as that, unless `key` has a
/// closing brace and no hash tag.
pub fn redis_fence_key(key: &str) -> String {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag);
    match tag {
        Some(tag) if !tag.is_empty() => format!("{key}:fence"),
        _ => format!("{{{key}}}:fence"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fence_of_a_key_is_kept_in_its_slot() {
        for (key, fence) in [
            ("stock:7", "{stock:7}:fence"),
            ("{shop}:stock:7", "{shop}:stock:7:fence"),
            ("a{b}c", "a{b}c:fence"),
        ] {
            assert_eq!(redis_fence_key(key), fence);
        }
    }
}

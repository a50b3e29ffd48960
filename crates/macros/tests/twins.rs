//! Two tasks of one name in one program; alone here, since no other registry of linked tasks could be built beside them.

use lovage::{Registry, task};

#[task(name = "twin")]
async fn first() {}

#[task(name = "twin")]
async fn second() {}

#[test]
fn two_linked_tasks_of_one_name_are_refused_with_both_places() {
    let error = Registry::linked().build().unwrap_err().to_string();
    let (one, other) = (first::DEF.location, second::DEF.location);
    assert_ne!(one, other);
    assert!(
        error.contains(&one.to_string()) && error.contains(&other.to_string()),
        "{error}"
    );
}

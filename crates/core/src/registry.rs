//! Which tasks a worker can run: gathered by `inventory`, or named one by one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::context::States;
use crate::ids::{NameError, QueueName, TaskName};
use crate::options::TaskOptions;
use crate::task::TaskDef;

/// The tasks of a worker by name, checked at start.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    tasks: HashMap<&'static str, TaskDef>,
}

/// A registry that is being put together.
#[derive(Clone, Debug, Default)]
pub struct RegistryBuilder {
    tasks: Vec<TaskDef>,
}

/// Why a worker cannot start with these tasks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two tasks share a name: a message could mean either.
    #[error(
        "two tasks are named {name:?}: at {first} and at {second}; give one of them another `name`"
    )]
    Duplicate {
        /// The name.
        name: &'static str,
        /// Where the first is.
        first: String,
        /// Where the second is.
        second: String,
    },
    /// There is no task at all.
    #[error(
        "no task is registered. A crate that nothing names is not linked, and its tasks with it: \
         write `use my_tasks as _;` in the worker's main.rs, or register tasks with Registry::new().with(my_task::DEF)"
    )]
    Empty,
    /// A task's name or queue is not a valid name.
    #[error("task {task:?} at {location}: {source}")]
    Name {
        /// The task.
        task: &'static str,
        /// Where it is.
        location: String,
        /// What is wrong with the name.
        r#source: NameError,
    },
    /// A body takes a state that the worker was not given.
    #[error(
        "task {task:?} at {location} takes State<{state}>, and the worker has none; give it one with .state(..)"
    )]
    MissingState {
        /// The task.
        task: &'static str,
        /// Where it is.
        location: String,
        /// The type.
        state: &'static str,
    },
}

impl Registry {
    /// Starts an empty registry.
    #[expect(
        clippy::new_ret_no_self,
        reason = "reads as what it becomes: Registry::new().with(add::DEF).build()"
    )]
    pub fn new() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// The tasks of all crates that are linked into this program.
    pub fn linked() -> RegistryBuilder {
        RegistryBuilder {
            tasks: inventory::iter::<TaskDef>.into_iter().copied().collect(),
        }
    }

    /// The task of this name.
    pub fn get(&self, name: &str) -> Option<&TaskDef> {
        self.tasks.get(name)
    }

    /// All tasks, by name.
    pub fn tasks(&self) -> Vec<&TaskDef> {
        let mut tasks: Vec<_> = self.tasks.values().collect();
        tasks.sort_by_key(|task| task.name);
        tasks
    }

    /// Checks that every state that a body takes is there.
    pub fn check_states(&self, states: &States) -> Result<(), RegistryError> {
        for task in self.tasks() {
            if let Some(missing) = task.needs.iter().find(|need| !states.has(need)) {
                return Err(RegistryError::MissingState {
                    task: task.name,
                    location: task.location.to_string(),
                    state: missing.name(),
                });
            }
        }
        Ok(())
    }
}

impl RegistryBuilder {
    /// Adds a task.
    pub fn with(mut self, task: TaskDef) -> Self {
        self.tasks.push(task);
        self
    }

    /// Checks the tasks and closes the registry.
    pub fn build(self) -> Result<Registry, RegistryError> {
        let mut tasks = HashMap::new();
        for task in self.tasks {
            check_names(&task)?;
            match tasks.entry(task.name) {
                Entry::Vacant(entry) => {
                    entry.insert(task);
                }
                Entry::Occupied(entry) => {
                    let first: &TaskDef = entry.get();
                    return Err(RegistryError::Duplicate {
                        name: task.name,
                        first: first.location.to_string(),
                        second: task.location.to_string(),
                    });
                }
            }
        }
        if tasks.is_empty() {
            Err(RegistryError::Empty)
        } else {
            Ok(Registry { tasks })
        }
    }
}

fn check_names(task: &TaskDef) -> Result<(), RegistryError> {
    let queue = (task.options)()
        .queue
        .unwrap_or(TaskOptions::QUEUE_DEFAULT.into());
    TaskName::parse(task.name)
        .and_then(|_| QueueName::parse(&queue))
        .map(drop)
        .map_err(|source| RegistryError::Name {
            task: task.name,
            location: task.location.to_string(),
            source,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::{StateNeed, TaskContext};
    use crate::error::TaskError;
    use crate::task::{AsyncBody, Task};

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Greet;

    impl Task for Greet {
        const NAME: &'static str = "greet";
        type Output = ();
    }

    impl AsyncBody for Greet {
        const NEEDS: &'static [StateNeed] = &[StateNeed::of::<String>()];

        async fn run(self, _: TaskContext) -> Result<(), TaskError> {
            Ok(())
        }
    }

    #[test]
    fn two_tasks_of_one_name_are_refused_with_both_places() {
        let twice = Registry::new()
            .with(TaskDef::asynchronous::<Greet>())
            .with(TaskDef::asynchronous::<Greet>());
        let error = twice.build().unwrap_err().to_string();
        assert_eq!(error.matches("registry.rs:").count(), 2, "{error}");
    }

    #[test]
    fn a_missing_state_is_refused_with_task_and_type() {
        let registry = Registry::new()
            .with(TaskDef::asynchronous::<Greet>())
            .build()
            .unwrap();
        let error = registry
            .check_states(&States::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("\"greet\"") && error.contains("State<alloc::string::String>"),
            "{error}"
        );
        registry
            .check_states(&States::new().with(String::from("hello")))
            .unwrap();
    }

    #[test]
    fn no_task_at_all_is_refused_with_the_usual_cause() {
        let error = Registry::new().build().unwrap_err().to_string();
        assert!(error.contains("use my_tasks as _;"), "{error}");
    }
}

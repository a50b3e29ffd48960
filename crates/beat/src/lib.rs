//! The periodic scheduler: any number of beats run, and each occurrence of each schedule becomes one task.

//! What a server does for every list that is asked of it: read the request, continue the user's history, write JSON.
//!
//! Each is the short form of something more general in Python (`ancf/serving`), which says what is right: here is only what is
//! asked thousands of times a second, and whatever else there may be is left to that.

pub mod history;
pub mod json;
pub mod request;

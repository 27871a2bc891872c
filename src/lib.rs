//! scat

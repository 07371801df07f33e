//! The same for Prometheus, made anew for each scrape.

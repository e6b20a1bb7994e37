"""What several test modules share: servers in threads and processes, browsers, runs, images, random requests."""

"""The mathematics: networks, losses, distance maps, augmentation. No files, no devices, no schedules."""

"""One file a method. A method knows networks and losses; it knows no devices, files, ranks or precision."""

"""Networks as files and as other libraries' networks. Each library has one door here, and is imported when it is used."""

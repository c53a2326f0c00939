"""Policy files to frozen values, with file and key in every error."""

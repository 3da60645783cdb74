"""Has browsers ask whether a file has changed before they show their copy of it."""

from fastapi import Response


async def revalidate(response: Response) -> None:
    """Allow copies, if the server is asked each time whether they are still good (RFC 9111).

    Told nothing, browsers guess, and open step 2 with the page of step 1 at the same address.
    """
    response.headers["cache-control"] = "no-cache"
